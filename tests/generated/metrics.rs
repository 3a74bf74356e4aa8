use agentkube::telemetry::{Label, METRICS, Metric};

use crate::files::{hold_block, table};

#[test]
fn the_documents_have_every_metric() {
    let rows = METRICS.iter().map(|metric| {
        [
            format!("`{}`", metric.full_name()),
            metric.kind.as_str().to_owned(),
            labels(metric),
            meaning(metric),
        ]
    });
    let table = table(["metric", "type", "labels", "meaning"], rows);
    hold_block("docs/monitoring.md", "metrics", &table);
}

fn labels(metric: &Metric) -> String {
    let labels = metric
        .labels
        .iter()
        .map(|Label { name, values }| {
            let values = values();
            if values.is_empty() {
                format!("`{name}`")
            } else {
                format!("`{name}`: `{}`", values.join("`, `"))
            }
        });
    labels.collect::<Vec<_>>().join("; ")
}

fn meaning(metric: &Metric) -> String {
    if metric.more.is_empty() {
        metric.help.to_owned()
    } else {
        format!("{}. {}", metric.help, metric.more)
    }
}
