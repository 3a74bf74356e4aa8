use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

/// The labels of a metric, and the values that each was seen with.
pub(crate) type Labels = BTreeMap<String, BTreeSet<String>>;

/// What a scrape shows.
pub(crate) struct Scrape {
    /// Type of each family, by the family's name as Prometheus' users know it: `_total` and `_info`
    /// included.
    pub(crate) families: BTreeMap<String, String>,
    /// By the names that queries use, `_bucket` and the like included.
    pub(crate) samples: BTreeMap<String, Labels>,
}

impl Scrape {
    /// Reads the `OpenMetrics` text.
    pub(crate) fn parse(exposition: &str) -> Self {
        let sample = Regex::new(r"^(\w+)(?:\{(.*)\})? \S+$").expect("a pattern");
        let label = Regex::new(r#"(\w+)="([^"]*)""#).expect("a pattern");
        let mut scrape = Self {
            families: BTreeMap::new(),
            samples: BTreeMap::new(),
        };
        for line in exposition.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                let (name, kind) = family
                    .split_once(' ')
                    .expect("a name and a type");
                let suffix = match kind {
                    "counter" => "_total",
                    "info" => "_info",
                    _ => "",
                };
                scrape
                    .families
                    .insert(format!("{name}{suffix}"), kind.to_owned());
            } else if let Some(found) = sample.captures(line) {
                let labels = scrape
                    .samples
                    .entry(found[1].to_owned())
                    .or_default();
                let pairs = found
                    .get(2)
                    .map_or("", |pairs| pairs.as_str());
                for pair in label.captures_iter(pairs) {
                    labels
                        .entry(pair[1].to_owned())
                        .or_default()
                        .insert(pair[2].to_owned());
                }
            } else {
                assert!(line.starts_with('#'), "this is no sample: {line}");
            }
        }
        scrape
    }

    /// The labels of a family, without those that its type brings along, and without the empty values
    /// that stand for none.
    pub(crate) fn labels(&self, family: &str) -> Labels {
        let mut labels = Labels::new();
        for suffix in ["", "_bucket"] {
            let samples = self
                .samples
                .get(&format!("{family}{suffix}"));
            labels.extend(samples.cloned().into_iter().flatten());
        }
        labels.remove("le");
        for values in labels.values_mut() {
            values.remove("");
        }
        labels
    }
}
