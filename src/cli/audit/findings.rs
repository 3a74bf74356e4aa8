//! Output formats of findings.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::{
    admission::Reason,
    cli::{csv, table::Table},
    scan::{Category, Looked, ScanFinding, reports},
};

/// The output format of findings.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(super) enum FindingsFormat {
    /// One table per category, and a summary of what was scanned
    #[default]
    Table,
    /// An array of objects
    Json,
    /// One line per finding, with a header
    Csv,
    /// `Report` objects of openreports.io/v1alpha1 as YAML, one per object with findings
    Openreports,
}

impl FindingsFormat {
    /// True for the format that people read.
    pub(super) fn is_table(self) -> bool {
        matches!(self, Self::Table)
    }
}

/// Writes findings. `now` is when they were found.
pub(super) fn render(
    findings: &[ScanFinding],
    looked: &Looked,
    format: FindingsFormat,
    now: Timestamp,
) -> anyhow::Result<String> {
    Ok(match format {
        FindingsFormat::Table => table(findings, looked),
        FindingsFormat::Json => serde_json::to_string_pretty(findings)? + "\n",
        FindingsFormat::Csv => csv(findings),
        FindingsFormat::Openreports => {
            let mut text = String::new();
            for report in reports(findings, now) {
                text.push_str("---\n");
                text.push_str(&serde_saphyr::to_string(&report)?);
            }
            text
        }
    })
}

/// One line with the numbers of findings and of scanned objects.
pub(super) fn summary(findings: &[ScanFinding], looked: &Looked) -> String {
    let Looked {
        agents,
        tools,
        pods,
        left_out,
    } = looked;
    let found = match findings.len() {
        0 => "no findings".to_owned(),
        count => counted(count, "finding"),
    };
    let mut text = format!(
        "{found} in {}, {} and {}",
        counted(*agents, "Agent"),
        counted(*tools, "Tool"),
        counted(*pods, "pod")
    );
    if *left_out > 0 {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "; {left_out} skipped: finished, being deleted, or in a namespace without admission"
        );
    }
    text
}

fn table(findings: &[ScanFinding], looked: &Looked) -> String {
    let mut text = String::new();
    for category in Category::ALL {
        let group: Vec<_> = findings
            .iter()
            .filter(|finding| finding.category == category)
            .collect();
        if group.is_empty() {
            continue;
        }
        let mut table = Table::new(&["KIND", "NAMESPACE", "NAME", "SEVERITY", "REASON", "WHAT"]);
        for finding in &group {
            let what = format!("{}: {}", finding.field, finding.message);
            table.row(&[
                finding.kind.as_str(),
                &finding.namespace,
                &finding.name,
                finding.severity.as_str(),
                reason(finding),
                &what,
            ]);
        }
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{category}: {} ({})\n",
            category.meaning(),
            group.len()
        );
        text.push_str(&table.render());
        text.push('\n');
    }
    text.push_str(&summary(findings, looked));
    text.push('\n');
    text
}

/// Comma-separated values (RFC 4180).
fn csv(findings: &[ScanFinding]) -> String {
    let mut text = "category,severity,kind,namespace,name,uid,reason,field,message\n".to_owned();
    for finding in findings {
        let values = [
            finding.category.as_str(),
            finding.severity.as_str(),
            finding.kind.as_str(),
            &finding.namespace,
            &finding.name,
            &finding.uid,
            reason(finding),
            &finding.field,
            &finding.message,
        ];
        text.push_str(&csv::line(&values));
    }
    text
}

fn reason(finding: &ScanFinding) -> &'static str {
    finding
        .reason
        .map_or("", Reason::as_str)
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::{ScannedKind, Severity};

    fn findings() -> Vec<ScanFinding> {
        let finding = |category, severity, kind, name: &str, reason, field: &str, message: &str| {
            ScanFinding {
                category,
                severity,
                kind,
                namespace: "adaptive".to_owned(),
                name: name.to_owned(),
                uid: format!("uid-{name}"),
                reason,
                field: field.to_owned(),
                message: message.to_owned(),
            }
        };
        vec![
            finding(
                Category::Refused,
                Severity::High,
                ScannedKind::Agent,
                "in-house",
                Some(Reason::RegistryNotAllowed),
                "spec.image",
                "Forbidden: \"quay.io/a\" is outside (hint: use another, or ask)",
            ),
            finding(
                Category::Outdated,
                Severity::Low,
                ScannedKind::Pod,
                "bot",
                None,
                "metadata.annotations[agentkube.io/images]",
                "container `\u{1b}[31magent` was given one",
            ),
        ]
    }

    const LOOKED: Looked = Looked {
        agents: 2,
        tools: 1,
        pods: 40,
        left_out: 3,
    };

    #[test]
    fn a_table_has_a_group_for_each_category() {
        insta::assert_snapshot!(table(&findings(), &LOOKED));
    }

    #[test]
    fn values_with_commas_and_quotes_stay_one_value() {
        insta::assert_snapshot!(csv(&findings()));
    }

    #[test]
    fn nothing_found_says_how_much_was_looked_at() {
        let looked = Looked {
            left_out: 0,
            ..LOOKED
        };
        assert_eq!(
            table(&[], &looked),
            "no findings in 2 Agents, 1 Tool and 40 pods\n"
        );
    }
}
