//! A report for CI systems, as `JUnit` XML.

use std::fmt::Write as _;

use crate::offline::{DocumentProblem, Verdict};

/// Writes verdicts and unreadable documents as one suite: a case per object, a failure per refusal,
/// an error per unreadable document.
#[must_use]
pub fn junit(verdicts: &[Verdict], problems: &[DocumentProblem]) -> String {
    let denied = verdicts
        .iter()
        .filter(|verdict| verdict.is_denied())
        .count();
    let counts = format!(
        r#"name="agentkube review" tests="{}" failures="{denied}" errors="{}""#,
        verdicts.len() + problems.len(),
        problems.len()
    );
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n  <testsuite {counts}>\n"
    );
    for verdict in verdicts {
        case(&mut xml, verdict);
    }
    for problem in problems {
        let (line, _) = problem.at.unwrap_or((1, 1));
        // Writing to a String cannot fail.
        let _ = writeln!(
            xml,
            "    <testcase classname=\"{file}\" name=\"line {line}\" file=\"{file}\" line=\"{line}\">\n      \
             <error type=\"Unreadable\" message=\"{message}\">{all}</error>\n    </testcase>",
            file = escape(&problem.file),
            message = escape(&problem.message),
            all = escape(&problem.to_string()),
        );
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

fn case(xml: &mut String, verdict: &Verdict) {
    let _ = write!(
        xml,
        "    <testcase classname=\"{file}\" name=\"{kind} {namespace}/{name}\" file=\"{file}\" line=\"{line}\">",
        file = escape(&verdict.file),
        kind = escape(&verdict.kind),
        namespace = escape(&verdict.namespace),
        name = escape(&verdict.name),
        line = verdict.line,
    );
    if let Some(message) = &verdict.decided.message {
        let reason = verdict
            .decided
            .causes
            .first()
            .map(|cause| cause.reason)
            .or(verdict.decided.reason)
            .unwrap_or_default();
        let _ = write!(
            xml,
            "\n      <failure type=\"{reason}\" message=\"{message}\">{file}:{line}: {message}</failure>",
            message = escape(message),
            file = escape(&verdict.file),
            line = verdict.line,
        );
    }
    if !verdict.warnings.is_empty() {
        let warnings = verdict
            .warnings
            .iter()
            .map(|warning| format!("warning: {warning}"))
            .collect::<Vec<_>>()
            .join("\n");
        let _ = write!(
            xml,
            "\n      <system-out>{}</system-out>",
            escape(&warnings)
        );
    }
    let ends_line = verdict.is_denied() || !verdict.warnings.is_empty();
    xml.push_str(if ends_line {
        "\n    </testcase>\n"
    } else {
        "</testcase>\n"
    });
}

/// Escapes a text for XML. Characters that XML cannot represent are replaced.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            character if character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}') => {
                escaped.push('\u{fffd}');
            }
            character => escaped.push(character),
        }
    }
    escaped
}
