use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::finding::{ScanFinding, Severity};

/// The name of this program in reports.
const SOURCE: &str = "agentkube";

/// The subject of all findings.
const SUBJECT: &str = "Runtime images";

/// Writes findings as `Report` objects of `openreports.io/v1alpha1`, one for each object with
/// findings.
///
/// A report is named after the object's uid, and owned by the object. So the next scan replaces it,
/// and it is deleted with the object. `now` is the time of the results.
#[must_use]
pub(crate) fn reports(findings: &[ScanFinding], now: Timestamp) -> Vec<Value> {
    let mut objects = BTreeMap::<_, Vec<_>>::new();
    for finding in findings {
        objects
            .entry((
                &finding.namespace,
                finding.kind,
                &finding.name,
                &finding.uid,
            ))
            .or_default()
            .push(finding);
    }
    objects
        .into_values()
        .filter_map(|findings| Some(report(findings.first()?, &findings, now)))
        .collect()
}

fn report(object: &ScanFinding, findings: &[&ScanFinding], now: Timestamp) -> Value {
    let ScanFinding {
        kind,
        namespace,
        name,
        uid,
        ..
    } = object;
    let api_version = kind.api_version();
    let count = |word: &str| {
        findings
            .iter()
            .filter(|finding| result(finding) == word)
            .count()
    };
    let results: Vec<_> = findings
        .iter()
        .map(|finding| one(finding, now))
        .collect();
    json!({
        "apiVersion": "openreports.io/v1alpha1",
        "kind": "Report",
        "metadata": {
            "name": format!("agentkube-{uid}"),
            "namespace": namespace,
            "labels": {"app.kubernetes.io/managed-by": SOURCE},
            "ownerReferences": [
                {"apiVersion": api_version, "kind": kind, "name": name, "uid": uid},
            ],
        },
        "source": SOURCE,
        "scope": {
            "apiVersion": api_version,
            "kind": kind,
            "namespace": namespace,
            "name": name,
            "uid": uid,
        },
        "summary": {
            "pass": 0,
            "fail": count("fail"),
            "warn": count("warn"),
            "error": 0,
            "skip": 0,
        },
        "results": results,
    })
}

fn one(finding: &ScanFinding, now: Timestamp) -> Value {
    let ScanFinding {
        category,
        severity,
        reason,
        field,
        message,
        ..
    } = finding;
    let mut value = json!({
        "source": SOURCE,
        "policy": category,
        "category": SUBJECT,
        "severity": severity,
        "result": result(finding),
        "message": message,
        "timestamp": {"seconds": now.as_second(), "nanos": now.subsec_nanosecond()},
        "properties": {"field": field},
    });
    if let (Some(reason), Some(members)) = (reason, value.as_object_mut()) {
        members.insert("rule".to_owned(), json!(reason.as_str()));
    }
    value
}

/// The result of a finding. An outdated pod or a warning is not a failure.
fn result(finding: &ScanFinding) -> &'static str {
    match finding.severity {
        Severity::High | Severity::Medium => "fail",
        Severity::Low => "warn",
    }
}
