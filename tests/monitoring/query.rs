use std::collections::BTreeSet;

use regex::Regex;

use crate::scrape::Scrape;

/// Labels that Prometheus gives to whatever it scrapes from a pod. `job` is none of those that our
/// queries may use: everybody's is called otherwise.
const TARGET_LABELS: [&str; 3] = ["instance", "namespace", "pod"];

/// What a `PromQL` expression, or a template beside it, says that the scrape does not bear out.
///
/// Every metric of ours begins with `agentkube_`, and nothing else in a query does.
pub(crate) fn problems(expression: &str, templates: &[&str], scrape: &Scrape) -> Vec<String> {
    let pattern = |text| Regex::new(text).expect("a pattern");
    let mut problems = Vec::new();
    let mut known: BTreeSet<&str> = TARGET_LABELS.into();
    let mut metrics = 0;
    for found in pattern(r"\b(agentkube_\w+)\s*(?:\{([^}]*)\})?").captures_iter(expression) {
        metrics += 1;
        let metric = &found[1];
        let Some(labels) = scrape.samples.get(metric) else {
            problems.push(format!("there is no metric `{metric}`"));
            continue;
        };
        known.extend(labels.keys().map(String::as_str));
        let matchers = found
            .get(2)
            .map_or("", |matchers| matchers.as_str());
        for matcher in pattern(r#"(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)""#).captures_iter(matchers) {
            let (label, values) = (&matcher[1], &matcher[2]);
            match labels.get(label) {
                None if TARGET_LABELS.contains(&label) => {}
                None => problems.push(format!("`{metric}` has no label `{label}`")),
                Some(seen) => problems.extend(
                    values
                        .split('|')
                        .filter(|value| !seen.contains(*value))
                        .map(|value| format!("`{label}` of `{metric}` is never `{value}`")),
                ),
            }
        }
    }
    if metrics == 0 {
        problems.push("no metric is asked for".to_owned());
    }
    let grouping = pattern(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)");
    let named = grouping
        .captures_iter(expression)
        .flat_map(|found| {
            found[1]
                .split(',')
                .map(|label| label.trim().to_owned())
                // `on ()` names none.
                .filter(|label| !label.is_empty())
                .collect::<Vec<_>>()
        });
    let template = pattern(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}");
    let shown = templates.iter().flat_map(|text| {
        template
            .captures_iter(text)
            .map(|found| found[1].to_owned())
            .collect::<Vec<_>>()
    });
    problems.extend(
        named
            .chain(shown)
            .filter(|label| !known.contains(label.as_str()))
            .map(|label| format!("no metric of this query has a label `{label}`")),
    );
    problems
}

#[test]
fn whatever_the_scrape_does_not_show_is_a_problem() {
    let scrape = Scrape::parse(
        "# TYPE agentkube_a counter\n\
         agentkube_a_total{event=\"x\"} 1\n\
         agentkube_a_total{event=\"y\"} 1\n\
         # EOF\n",
    );
    for right in [
        r#"sum by (pod) (rate(agentkube_a_total{event=~"x|y"}[5m])) > 0"#,
        r#"max by (event)(agentkube_a_total{pod="p"}) and on () agentkube_a_total"#,
    ] {
        let templates = ["{{ $labels.event }} {{pod}} {{ $value | humanize }}"];
        assert_eq!(problems(right, &templates, &scrape), [""; 0], "{right}");
    }
    for (wrong, problem) in [
        ("rate(agentkube_a[5m])", "there is no metric `agentkube_a`"),
        ("up == 0", "no metric is asked for"),
        (
            r#"agentkube_a_total{what="x"}"#,
            "`agentkube_a_total` has no label `what`",
        ),
        (
            r#"agentkube_a_total{job="agentkube"}"#,
            "`agentkube_a_total` has no label `job`",
        ),
        (
            r#"agentkube_a_total{event!~"x|z"}"#,
            "`event` of `agentkube_a_total` is never `z`",
        ),
        (
            "sum by (pod, evnt) (agentkube_a_total)",
            "no metric of this query has a label `evnt`",
        ),
    ] {
        assert_eq!(problems(wrong, &[], &scrape), [problem], "{wrong}");
    }
    assert_eq!(
        problems("agentkube_a_total", &["{{ $labels.evnt }}"], &scrape),
        ["no metric of this query has a label `evnt`"]
    );
}
