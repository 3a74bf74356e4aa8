//! Rejections as tables, lines and summaries.

use std::fmt::Write as _;

use kube::ResourceExt;

use crate::{
    api::Rejection,
    cli::{
        csv,
        table::{Table, printable},
    },
    queries::{Denials, RejectionSummary},
};

/// The longest bar of a summary, in characters.
const LONGEST_BAR: u64 = 20;
/// The most lines of each part of a summary.
const MOST_LINES: usize = 10;

/// A column of the list.
struct Column {
    head: &'static str,
    /// The width in a stream, whose rows are not known yet.
    width: usize,
    cell: fn(&Rejection) -> String,
}

const COLUMNS: [Column; 10] = [
    Column {
        head: "NAMESPACE",
        width: 16,
        cell: |rejection| {
            rejection
                .namespace()
                .unwrap_or_default()
        },
    },
    Column {
        head: "KIND",
        width: 6,
        cell: |rejection| rejection.spec.object.kind.clone(),
    },
    Column {
        head: "NAME",
        width: 24,
        cell: |rejection| rejection.spec.object.name.clone(),
    },
    Column {
        head: "REASON",
        width: 22,
        cell: |rejection| rejection.spec.reason.clone(),
    },
    Column {
        head: "USER",
        width: 24,
        cell: |rejection| rejection.spec.user.clone(),
    },
    Column {
        head: "COUNT",
        width: 5,
        cell: |rejection| rejection.spec.count.to_string(),
    },
    Column {
        head: "FIRST-SEEN",
        width: 20,
        cell: |rejection| rejection.spec.first_seen.0.to_string(),
    },
    Column {
        head: "LAST-SEEN",
        width: 20,
        cell: |rejection| rejection.spec.last_seen.0.to_string(),
    },
    Column {
        head: "DECISION",
        width: 8,
        cell: |rejection| {
            rejection
                .spec
                .decision
                .as_str()
                .to_owned()
        },
    },
    Column {
        head: "MESSAGE",
        width: 0,
        cell: |rejection| rejection.spec.message.clone(),
    },
];

pub(super) fn table(rejections: &[Rejection]) -> String {
    let mut table = Table::new(&COLUMNS.map(|column| column.head));
    for rejection in rejections {
        table.row(
            &cells(rejection)
                .each_ref()
                .map(String::as_str),
        );
    }
    table.render()
}

/// The header of a stream.
pub(super) fn header() -> String {
    padded(&COLUMNS.map(|column| column.head.to_owned()))
}

/// A row of a stream.
pub(super) fn line(rejection: &Rejection) -> String {
    padded(&cells(rejection))
}

/// The header of comma-separated values.
pub(super) fn csv_header() -> String {
    let names = COLUMNS.map(|column| {
        column
            .head
            .to_ascii_lowercase()
            .replace('-', "_")
    });
    csv::line(&names.each_ref().map(String::as_str))
}

/// A row of comma-separated values.
pub(super) fn csv_line(rejection: &Rejection) -> String {
    csv::line(
        &cells(rejection)
            .each_ref()
            .map(String::as_str),
    )
}

fn cells(rejection: &Rejection) -> [String; 10] {
    COLUMNS.map(|column| (column.cell)(rejection))
}

fn padded(cells: &[String; 10]) -> String {
    let cells: Vec<_> = cells
        .iter()
        .zip(COLUMNS)
        .map(|(cell, Column { width, .. })| format!("{:width$}", printable(cell)))
        .collect();
    cells.join("  ").trim_end().to_owned() + "\n"
}

/// A summary, optionally with bars.
pub(super) fn summary(rejections: &[Rejection], bars: bool) -> String {
    let RejectionSummary {
        reasons,
        namespaces,
        users,
    } = RejectionSummary::of(rejections);
    let mut text = String::new();
    for (title, counts) in [
        ("REASON", reasons),
        ("NAMESPACE", namespaces),
        ("USER", users),
    ] {
        let most = counts
            .first()
            .map_or(1, |denials| denials.count.max(1));
        let mut table = Table::new(&[title, "DENIALS"]);
        for Denials { name, count } in counts.iter().take(MOST_LINES) {
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
        assert_snapshot!(header() + &lines + &csv_header());
    }
}
