use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

use crate::{list, manager, needed, query, read, text};

/// The rules as Prometheus itself takes them, by the recipe of the documentation.
fn plain() -> String {
    read("manifests/components/monitoring/rules.yaml")
        .split_once("\nspec:\n")
        .expect("a spec")
        .1
        .to_owned()
}

/// Every alert.
pub(crate) fn alerts() -> Vec<Value> {
    let rules: Value = serde_saphyr::from_str(&plain()).expect("the rules are YAML");
    list(&rules["groups"])
        .iter()
        .flat_map(|group| list(&group["rules"]))
        .cloned()
        .collect()
}

fn cases() -> Vec<Value> {
    let cases = read("manifests/components/monitoring/tests.yaml");
    let cases: Value = serde_saphyr::from_str(&cases).expect("the cases are YAML");
    list(&cases["tests"]).to_vec()
}

fn promtool(directory: &Path, arguments: &[&str]) -> Option<()> {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(directory)
        .output()
        .map_err(|error| {
            format!("`promtool` cannot be run ({error})\n\nhint: it is in a Debian package: `apt-get install prometheus`")
        });
    let output = needed(output)?;
    assert!(
        output.status.success(),
        "`promtool {}`:\n{}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Some(())
}

#[test]
fn promtool_takes_the_rules_and_sees_them_fire() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, content: &str| {
        fs::write(directory.path().join(name), content).expect("the file is written");
    };
    write("agentkube.rules.yaml", &plain());
    write(
        "tests.yaml",
        &read("manifests/components/monitoring/tests.yaml"),
    );
    let check = [
        "check",
        "rules",
        "--lint=all",
        "--lint-fatal",
        "agentkube.rules.yaml",
    ];
    let _ = promtool(directory.path(), &check)
        .and_then(|()| promtool(directory.path(), &["test", "rules", "tests.yaml"]));
}

#[test]
fn every_alert_is_seen_to_fire_and_to_keep_silent() {
    let mut expected = BTreeSet::new();
    for alert in alerts() {
        for fires in [false, true] {
            expected.insert((text(&alert["alert"]).to_owned(), fires));
        }
    }
    let seen: BTreeSet<_> = cases()
        .iter()
        .flat_map(|case| list(&case["alert_rule_test"]))
        .map(|check| {
            (
                text(&check["alertname"]).to_owned(),
                !list(&check["exp_alerts"]).is_empty(),
            )
        })
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn every_alert_waits_and_says_what_it_is_and_what_to_do() {
    for alert in alerts() {
        let name = text(&alert["alert"]);
        assert!(text(&alert["for"]).len() > 1, "{name}");
        let severity = text(&alert["labels"]["severity"]);
        assert!(
            ["critical", "warning", "info"].contains(&severity),
            "{name}: {severity}"
        );
        let annotations = &alert["annotations"];
        for annotation in ["summary", "description", "runbook"] {
            assert!(!text(&annotations[annotation]).is_empty(), "{name}");
        }
        let place = format!("(docs/monitoring.md#{})", name.to_lowercase());
        assert!(
            text(&annotations["runbook"]).ends_with(&place),
            "the runbook of {name} does not lead to {place}"
        );
    }
}

#[tokio::test]
async fn the_rules_ask_for_what_the_manager_tells() {
    let scrape = manager::scrape().await;
    for alert in alerts() {
        let annotations = alert["annotations"]
            .as_object()
            .expect("annotations");
        let templates: Vec<_> = annotations.values().map(text).collect();
        let problems = query::problems(text(&alert["expr"]), &templates, &scrape);
        assert!(problems.is_empty(), "{}: {problems:#?}", alert["alert"]);
    }
    for case in cases() {
        for series in list(&case["input_series"]) {
            let problems = query::problems(text(&series["series"]), &[], &scrape);
            assert!(problems.is_empty(), "{}: {problems:#?}", case["name"]);
        }
    }
}
