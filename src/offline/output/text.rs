//! A report for people.

use std::fmt::Write as _;

use super::verdict::Verdict;
use crate::{
    images::Source,
    offline::input::{document::DocumentProblem, printable::printable},
};

/// Writes verdicts as text: one block per object, and a last line with counts.
///
/// `colour` adds escape sequences for terminals; the text is the same without.
#[must_use]
pub fn text(verdicts: &[Verdict], problems: &[DocumentProblem], colour: bool) -> String {
    let paint = Paint { colour };
    let mut text = String::new();
    for verdict in verdicts {
        block(&mut text, verdict, paint);
    }
    text.push_str(&count(verdicts, problems));
    text.push('\n');
    text
}

// Writing to a String cannot fail, so what `writeln!` returns is dropped below.

fn block(text: &mut String, verdict: &Verdict, paint: Paint) {
    let Verdict {
        file,
        line,
        kind,
        namespace,
        name,
        decided,
        warnings,
        images,
        patch: _,
        alternatives,
        pod: _,
    } = verdict;
    let decision = if verdict.is_denied() {
        paint.red("denied")
    } else {
        paint.green("allowed")
    };
    let [kind, namespace, name] = [kind, namespace, name].map(|text| printable(text));
    let _ = writeln!(text, "{file}:{line}: {kind} {namespace}/{name}: {decision}");
    for (image, lower) in images.iter().zip(alternatives) {
        let rule = rule(image.source, image.variable.as_deref());
        let container = printable(&image.container);
        let _ = writeln!(text, "  {container}: {} ({rule})", printable(&image.image));
        for other in lower {
            let rule = self::rule(other.source, other.variable);
            let line = format!("    else {} ({rule})", other.image);
            let _ = writeln!(text, "{}", paint.dim(&line));
        }
    }
    for warning in warnings {
        let warning = printable(warning);
        let _ = writeln!(text, "  {}: {warning}", paint.yellow("warning"));
    }
    if let Some(message) = &decided.message {
        if decided.causes.len() < 2 {
            let _ = writeln!(text, "  {}", printable(message));
        } else {
            let subject = message
                .split_once(": ")
                .map_or(message.as_str(), |(subject, _)| subject);
            let _ = writeln!(text, "  {}:", printable(subject));
            for cause in &decided.causes {
                let cause = format!("{}: {}", cause.field, cause.message);
                let _ = writeln!(text, "  * {}", printable(&cause));
            }
        }
    }
    text.push('\n');
}

/// The rule that chose an image, as written after it.
fn rule(source: Source, variable: Option<&str>) -> String {
    match (source, variable) {
        (Source::Resource, _) => "resource: spec.image".to_owned(),
        (source, Some(variable)) => format!("{source}: {variable}"),
        (source, None) => source.to_string(),
    }
}

fn count(verdicts: &[Verdict], problems: &[DocumentProblem]) -> String {
    let denied = verdicts
        .iter()
        .filter(|verdict| verdict.is_denied())
        .count();
    let warnings: usize = verdicts
        .iter()
        .map(|verdict| verdict.warnings.len())
        .sum();
    let mut line = format!(
        "{}: {} allowed, {denied} denied, {}",
        of(verdicts.len(), "object"),
        verdicts.len() - denied,
        of(warnings, "warning")
    );
    if !problems.is_empty() {
        let _ = write!(line, ", {} could not be read", problems.len());
    }
    line
}

fn of(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

#[derive(Clone, Copy)]
struct Paint {
    colour: bool,
}

impl Paint {
    fn red(self, text: &str) -> String {
        self.escape("31", text)
    }

    fn green(self, text: &str) -> String {
        self.escape("32", text)
    }

    fn yellow(self, text: &str) -> String {
        self.escape("33", text)
    }

    fn dim(self, text: &str) -> String {
        self.escape("2", text)
    }

    fn escape(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}
