//! What was measured: under names, beside goals, and written in three ways.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::statistics::{Spread, round};

/// Figures under their names, in the order that they were measured in.
#[derive(Debug, Default)]
pub(super) struct Figures(Vec<Figure>);

#[derive(Debug)]
struct Figure {
    name: Vec<String>,
    spread: Spread,
}

/// A goal, and of which figure.
struct Goal {
    name: &'static str,
    limit: Limit,
}

enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

/// What is to be reached, on 2 cores.
const GOALS: [Goal; 15] = [
    Goal::at_most("endToEnd.addedP50VsCel.8", 0.8),
    Goal::at_most("endToEnd.addedP50VsCel.1", 1.0),
    Goal::at_most("endToEnd.addedP99VsCel.8", 0.8),
    Goal::at_most("endToEnd.addedP99VsCel.1", 1.0),
    Goal::at_least("handler.throughputVsNoop.3KB.16", 0.75),
    Goal::at_most("memory.startMiB", 14.0),
    Goal::at_most("memory.bytesPerAgent.admitting.50000", 1024.0),
    Goal::at_most("memory.leaderMiB.50000", 150.0),
    Goal::at_most("memory.resyncP99VsRest.50000", 2.0),
    Goal::at_most("memory.bytesPerIdleConnection.0", 20_000.0),
    Goal::at_least("reconcile.reconcileVsRaw", 0.8),
    Goal::at_most("reconcile.writesPerAgent", 2.05),
    Goal::at_most("start.firstAnswerMs", 50.0),
    Goal::at_most("size.binaryMB", 15.0),
    Goal::at_most("review.seconds", 1.0),
];

impl Goal {
    const fn at_most(name: &'static str, limit: f64) -> Self {
        Self {
            name,
            limit: Limit::AtMost(limit),
        }
    }

    const fn at_least(name: &'static str, limit: f64) -> Self {
        Self {
            name,
            limit: Limit::AtLeast(limit),
        }
    }

    fn is_met(&self, figure: f64) -> bool {
        match self.limit {
            Limit::AtLeast(limit) => figure >= limit,
            Limit::AtMost(limit) => figure <= limit,
        }
    }

    fn words(&self) -> String {
        match self.limit {
            Limit::AtLeast(limit) => format!("≥ {limit}"),
            Limit::AtMost(limit) => format!("≤ {limit}"),
        }
    }
}

impl Figures {
    /// Notes what rounds measured, under a name such as `handler.p50Ms.3KB.16`. Where no round gave a figure, nothing.
    pub(super) fn note(&mut self, name: &str, rounds: impl IntoIterator<Item = f64>) {
        if let Some(spread) = Spread::of(rounds) {
            self.0.push(Figure {
                name: name
                    .split('.')
                    .map(str::to_owned)
                    .collect(),
                spread,
            });
        }
    }

    /// One document: names are paths in it.
    pub(super) fn json(&self, machine: &impl Serialize) -> anyhow::Result<Value> {
        let mut document = Map::new();
        document.insert("machine".to_owned(), serde_json::to_value(machine)?);
        document.insert("goals".to_owned(), self.goals());
        for Figure { name, spread } in &self.0 {
            let mut place = &mut document;
            if let Some((last, path)) = name.split_last() {
                for step in path {
                    let next = place
                        .entry(step.clone())
                        .or_insert_with(|| json!({}));
                    let Value::Object(next) = next else {
                        anyhow::bail!("`{step}` is a figure and a group of figures");
                    };
                    place = next;
                }
                place.insert(last.clone(), serde_json::to_value(spread)?);
            }
        }
        Ok(Value::Object(document))
    }

    /// For people: ratios and goals first.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let goals = self.reached();
        if !goals.is_empty() {
            text.push_str("Ratios and goals\n");
        }
        for (goal, spread) in goals {
            let met = if goal.is_met(spread.median) {
                "met"
            } else {
                "missed"
            };
            let _ = writeln!(
                text,
                "  {:<44} {}   {} {met}",
                goal.name,
                shown(spread),
                goal.words()
            );
        }
        let mut section = "";
        for Figure { name, spread } in &self.0 {
            let Some((first, rest)) = name.split_first() else {
                continue;
            };
            if first != section {
                let _ = writeln!(text, "\n{first}");
                section = first;
            }
            let _ = writeln!(text, "  {:<44} {}", rest.join(" "), shown(spread));
        }
        text
    }

    /// For the documentation: the goals, then everything.
    pub(super) fn markdown(&self) -> String {
        let mut text = "| figure | goal | median | min … max |\n|---|---|---|---|\n".to_owned();
        for goal in &GOALS {
            let (median, range) = match self.find(goal.name) {
                Some(spread) => {
                    let mark = if goal.is_met(spread.median) {
                        ""
                    } else {
                        " (missed)"
                    };
                    (format!("{}{mark}", round(spread.median)), range(spread))
                }
                None => ("not measured".to_owned(), String::new()),
            };
            let _ = writeln!(
                text,
                "| `{}` | {} | {median} | {range} |",
                goal.name,
                goal.words()
            );
        }
        text.push_str("\n| figure | median | min … max |\n|---|---|---|\n");
        for Figure { name, spread } in &self.0 {
            let median = round(spread.median);
            let _ = writeln!(
                text,
                "| `{}` | {median} | {} |",
                name.join("."),
                range(spread)
            );
        }
        text
    }

    fn find(&self, name: &str) -> Option<&Spread> {
        self.0
            .iter()
            .find(|figure| figure.name.join(".") == name)
            .map(|figure| &figure.spread)
    }

    fn reached(&self) -> Vec<(&'static Goal, &Spread)> {
        GOALS
            .iter()
            .filter_map(|goal| Some((goal, self.find(goal.name)?)))
            .collect()
    }

    fn goals(&self) -> Value {
        self.reached()
            .into_iter()
            .map(|(goal, spread)| {
                let verdict = json!({
                    "median": round(spread.median),
                    "goal": goal.words(),
                    "met": goal.is_met(spread.median),
                });
                (goal.name.to_owned(), verdict)
            })
            .collect::<Map<_, _>>()
            .into()
    }
}

fn shown(spread: &Spread) -> String {
    format!("{:>10}  ({})", round(spread.median), range(spread))
}

fn range(spread: &Spread) -> String {
    format!("{} … {}", round(spread.min), round(spread.max))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let mut figures = Figures::default();
        figures.note("size.binaryMB", [16.0]);
        figures.note("handler.perSecond.3KB.1", [1.0, 3.0, 2.0]);
        figures.note("handler.perSecond.3KB.16", [f64::NAN]);
        figures
    }

    #[test]
    fn names_are_paths() {
        let document = figures()
            .json(&json!({"cores": 2}))
            .unwrap();
        assert_eq!(document["handler"]["perSecond"]["3KB"]["1"]["median"], 2.0);
        assert_eq!(document["handler"]["perSecond"]["3KB"].get("16"), None);
        assert_eq!(document["goals"]["size.binaryMB"]["met"], false);
        assert_eq!(document["machine"]["cores"], 2);
    }

    #[test]
    fn a_goal_that_is_missed_says_so_everywhere() {
        assert!(figures().text().contains("≤ 15 missed"));
        assert!(
            figures()
                .markdown()
                .contains("| `size.binaryMB` | ≤ 15 | 16 (missed) |")
        );
        assert!(
            figures()
                .markdown()
                .contains("| `start.firstAnswerMs` | ≤ 50 | not measured |")
        );
    }
}
