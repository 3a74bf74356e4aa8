use std::collections::{BTreeMap, BTreeSet};

use crate::{manager, read, rules::alerts, scrape::Labels, text};

/// A row of the table of metrics.
pub(crate) struct Documented {
    pub(crate) name: String,
    kind: String,
    labels: Labels,
}

/// The table of metrics.
pub(crate) fn metrics() -> Vec<Documented> {
    read("docs/monitoring.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `agentkube_"))
        .map(|line| {
            let columns: Vec<_> = line.split('|').map(str::trim).collect();
            Documented {
                name: format!("agentkube_{}", columns[0].trim_end_matches('`')),
                kind: columns[1].to_owned(),
                labels: labels(columns[2]),
            }
        })
        .collect()
}

/// Reads "`name`: `value`, `value`; `name`: `value`".
fn labels(column: &str) -> Labels {
    column
        .split(';')
        .filter(|label| !label.trim().is_empty())
        .map(|label| {
            let (name, values) = label
                .split_once(':')
                .unwrap_or((label, ""));
            let bare = |text: &str| text.trim().trim_matches('`').to_owned();
            let values = values
                .split(',')
                .map(bare)
                .filter(|value| !value.is_empty())
                .collect();
            (bare(name), values)
        })
        .collect()
}

#[tokio::test]
async fn the_documentation_has_every_metric_with_every_value_of_its_labels() {
    let scrape = manager::scrape().await;
    let documented = metrics();
    let names: BTreeMap<_, _> = documented
        .iter()
        .map(|metric| (metric.name.clone(), metric.kind.clone()))
        .collect();
    assert_eq!(names, scrape.families);
    for metric in &documented {
        let mut seen = scrape.labels(&metric.name);
        // The only one that every build has another value of.
        if let Some(versions) = seen.get_mut("version") {
            versions.clear();
        }
        assert_eq!(metric.labels, seen, "{}", metric.name);
    }
}

#[test]
fn the_documentation_has_every_alert() {
    let documentation = read("docs/monitoring.md");
    let headings: BTreeSet<_> = documentation
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .map(str::to_owned)
        .collect();
    let names: BTreeSet<_> = alerts()
        .iter()
        .map(|alert| text(&alert["alert"]).to_owned())
        .collect();
    assert_eq!(headings, names);
}
