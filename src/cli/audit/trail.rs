//! Rejections as people read them.

use std::{collections::BTreeMap, fmt::Write as _};

use jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::Rejection,
    cli::{
        csv,
        table::{Table, printable},
    },
};

/// How long the longest bar of a summary is, in characters.
const LONGEST_BAR: u64 = 20;
/// How many lines each part of a summary has.
const MOST_LINES: usize = 10;

const HEADER: [&str; 10] = [
    "NAMESPACE",
    "KIND",
    "NAME",
    "REASON",
    "USER",
    "COUNT",
    "FIRST-SEEN",
    "LAST-SEEN",
    "DECISION",
    "MESSAGE",
];
/// How wide the columns are of a table whose rows are not known yet.
const WIDTHS: [usize; 10] = [16, 6, 24, 22, 24, 5, 20, 20, 8, 0];

/// Which Rejections are wanted.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub(super) after: Option<Timestamp>,
    pub(super) user: Option<String>,
    pub(super) reason: Option<String>,
}

impl Filter {
    pub(super) fn takes(&self, rejection: &Rejection) -> bool {
        let spec = &rejection.spec;
        let Self {
            after,
            user,
            reason,
        } = self;
        after.is_none_or(|after| spec.last_seen.0 >= after)
            && user
                .as_ref()
                .is_none_or(|user| spec.user == *user)
            && reason
                .as_ref()
                .is_none_or(|reason| spec.reason == *reason)
    }
}

/// The values of a row.
pub(super) fn cells(rejection: &Rejection) -> [String; 10] {
    let spec = &rejection.spec;
    [
        rejection
            .namespace()
            .unwrap_or_default(),
        spec.object.kind.clone(),
        spec.object.name.clone(),
        spec.reason.clone(),
        spec.user.clone(),
        spec.count.to_string(),
        spec.first_seen.0.to_string(),
        spec.last_seen.0.to_string(),
        spec.decision.as_str().to_owned(),
        spec.message.clone(),
    ]
}

pub(super) fn table(rejections: &[Rejection]) -> String {
    let mut table = Table::new(&HEADER);
    for rejection in rejections {
        let cells = cells(rejection);
        table.row(&cells.each_ref().map(String::as_str));
    }
    table.render()
}

/// The first line of a list that has no end.
pub(super) fn header(is_csv: bool) -> String {
    if is_csv {
        let names = HEADER.map(|name| {
            name.to_ascii_lowercase()
                .replace('-', "_")
        });
        csv::line(&names.each_ref().map(String::as_str))
    } else {
        padded(&HEADER)
    }
}

/// A row of a list that has no end.
pub(super) fn line(rejection: &Rejection) -> String {
    let cells = cells(rejection);
    padded(&cells.each_ref().map(String::as_str))
}

fn padded(cells: &[&str]) -> String {
    let cells: Vec<_> = cells
        .iter()
        .zip(WIDTHS)
        .map(|(cell, width)| format!("{:width$}", printable(cell)))
        .collect();
    cells.join("  ").trim_end().to_owned() + "\n"
}

/// What Rejections are counted by.
type Part = fn(&Rejection) -> String;

/// How many denials there were by reason, namespace and user; the most frequent first, with bars
/// where they are wanted.
pub(super) fn summary(rejections: &[Rejection], bars: bool) -> String {
    let mut text = String::new();
    let parts: [(&str, Part); 3] = [
        ("REASON", |rejection| rejection.spec.reason.clone()),
        ("NAMESPACE", |rejection| {
            rejection
                .namespace()
                .unwrap_or_default()
        }),
        ("USER", |rejection| rejection.spec.user.clone()),
    ];
    for (title, of) in parts {
        let mut counts = BTreeMap::<String, u64>::new();
        for rejection in rejections {
            *counts.entry(of(rejection)).or_default() +=
                u64::try_from(rejection.spec.count).unwrap_or_default();
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let most = counts
            .first()
            .map_or(1, |(_, count)| (*count).max(1));
        let mut table = Table::new(&[title, "DENIALS"]);
        for (name, count) in counts.iter().take(MOST_LINES) {
            let shown = if bars {
                format!("{count:<7}  {}", bar(*count, most))
            } else {
                count.to_string()
            };
            table.row(&[name, &shown]);
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&table.render());
        if let Some(more) = counts
            .len()
            .checked_sub(MOST_LINES)
            .filter(|more| *more > 0)
        {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "and {more} more");
        }
    }
    text
}

/// A bar in eighths of a character, at least one eighth long.
fn bar(count: u64, most: u64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (count.saturating_mul(LONGEST_BAR * 8) / most).max(1);
    let whole = usize::try_from(eighths / 8).unwrap_or_default();
    let rest = usize::try_from(eighths % 8).unwrap_or_default();
    let rest = EIGHTHS
        .get(rest)
        .copied()
        .unwrap_or_default();
    format!("{}{rest}", "█".repeat(whole))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;

    fn rejection(namespace: &str, name: &str, user: &str, reason: &str, count: i64) -> Rejection {
        serde_json::from_value(json!({
            "apiVersion": "agentkube.io/v1alpha1",
            "kind": "Rejection",
            "metadata": {"namespace": namespace, "name": format!("agent-{name}")},
            "spec": {
                "object": {"group": "agentkube.io", "kind": "Agent", "name": name},
                "operation": "CREATE", "user": user, "decision": "deny",
                "reason": reason, "field": "spec.image", "message": "spec.image: Required value: \"why\", indeed",
                "count": count, "firstSeen": "2026-01-01T00:00:00Z", "lastSeen": "2026-01-02T00:00:00Z",
            },
        }))
        .unwrap()
    }

    fn rejections() -> Vec<Rejection> {
        vec![
            rejection("team", "bot", "alice", "ImageRequired", 40),
            rejection("team", "evil\u{1b}[31m", "bob", "UnknownRuntime", 1),
            rejection("other", "bot", "alice", "ImageRequired", 7),
        ]
    }

    #[test]
    fn a_row_is_one_line_whatever_it_holds() {
        assert_snapshot!(table(&rejections()));
    }

    #[test]
    fn the_summary_counts_denials_and_has_bars_on_a_terminal() {
        let rejections = rejections();
        assert_snapshot!(summary(&rejections, true));
        assert!(!summary(&rejections, false).contains('█'));
    }

    #[test]
    fn a_list_without_end_has_a_header_and_lines() {
        let rejections = rejections();
        let lines: String = rejections.iter().map(line).collect();
        assert_snapshot!(header(false) + &lines + &header(true));
    }

    #[test]
    fn filters_leave_only_what_is_asked_for() {
        let filter = |user: Option<&str>, reason: Option<&str>, after: Option<&str>| Filter {
            after: after.map(|after| after.parse().unwrap()),
            user: user.map(str::to_owned),
            reason: reason.map(str::to_owned),
        };
        let taken = |filter: Filter| {
            rejections()
                .iter()
                .filter(|rejection| filter.takes(rejection))
                .count()
        };
        assert_eq!(taken(Filter::default()), 3);
        assert_eq!(taken(filter(Some("alice"), None, None)), 2);
        assert_eq!(taken(filter(None, Some("UnknownRuntime"), None)), 1);
        assert_eq!(taken(filter(None, None, Some("2026-01-02T00:00:00Z"))), 3);
        assert_eq!(taken(filter(None, None, Some("2026-01-02T00:00:01Z"))), 0);
    }
}
