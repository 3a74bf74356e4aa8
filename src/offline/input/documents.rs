//! The documents of a file, with their positions and errors.
//!
//! A file is split at its `---` lines before anything is parsed, so a broken document does not
//! affect the others. In YAML such a line ends even a block of text.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::{
    document::{
        Document, DocumentProblem, LONGEST_DOCUMENT, document, is_list, no_list, parser_message,
        too_long,
    },
    json::json,
};
use crate::offline::parallel::parallel;

/// The most documents that are read from one file.
const MOST_DOCUMENTS: usize = 100_000;

/// The number of documents that are read between two counts of the problems.
const BATCH: usize = 4096;

/// The most problems of one file that are reported.
const MOST_PROBLEMS: usize = 100;

/// The format of a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DocumentFormat {
    /// JSON values one after the other.
    Json,
    /// YAML documents. JSON is also valid YAML.
    Yaml,
}

/// Reads the documents of a text, and passes each to `take` on the thread that has read it. A
/// `List` is replaced by its items; empty documents are skipped.
#[must_use]
pub fn parse<T: Send>(
    file: &Arc<str>,
    text: &str,
    format: DocumentFormat,
    take: impl Fn(Document) -> T + Sync,
) -> Vec<Result<T, DocumentProblem>> {
    let text = text.trim_start_matches('\u{feff}');
    match format {
        DocumentFormat::Json => json(file, text, take),
        DocumentFormat::Yaml => yaml_documents(file, text, take),
    }
}

fn yaml_documents<T: Send>(
    file: &Arc<str>,
    text: &str,
    take: impl Fn(Document) -> T + Sync,
) -> Vec<Result<T, DocumentProblem>> {
    let whole = |message: String| {
        Err(DocumentProblem {
            file: file.clone(),
            at: None,
            message,
        })
    };
    let chunks = split(text);
    if chunks.len() > MOST_DOCUMENTS {
        return vec![whole(format!(
            "more than {MOST_DOCUMENTS} documents (hint: split it into several files)"
        ))];
    }
    let mut documents = Vec::new();
    let mut problems = 0;
    for batch in chunks.chunks(BATCH) {
        let read = parallel(batch, |chunk| {
            yaml(file, chunk)
                .into_iter()
                .map(|document| document.map(&take))
                .collect::<Vec<_>>()
        });
        for document in read.into_iter().flatten() {
            problems += usize::from(document.is_err());
            if problems > MOST_PROBLEMS {
                documents.push(whole(format!(
                    "more than {MOST_PROBLEMS} documents cannot be read, so the rest is not checked"
                )));
                return documents;
            }
            documents.push(document);
        }
    }
    documents
}

/// One document of a file.
#[derive(Debug, Eq, PartialEq)]
struct Chunk<'a> {
    /// The first line of the chunk in the file.
    line: u64,
    text: &'a str,
}

fn split(text: &str) -> Vec<Chunk<'_>> {
    let mut chunks = Vec::new();
    let (mut start, mut start_line, mut position) = (0, 1, 0);
    // Directives (`%YAML 1.2`) belong to the next document.
    let mut only_directives = false;
    for (line, content) in (1..).zip(text.split_inclusive('\n')) {
        let is_marker = content
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        let ends = content.trim_end() == "...";
        if is_marker && !only_directives {
            push(&mut chunks, text, start..position, start_line);
            (start, start_line) = (position, line);
        }
        only_directives = if is_marker {
            false
        } else {
            let trimmed = content.trim();
            (only_directives || content.starts_with('%') && position == start)
                && (trimmed.is_empty() || trimmed.starts_with(['#', '%']))
        };
        position += content.len();
        if ends {
            push(&mut chunks, text, start..position, start_line);
            (start, start_line) = (position, line + 1);
        }
    }
    push(&mut chunks, text, start..position, start_line);
    chunks
}

fn push<'a>(chunks: &mut Vec<Chunk<'a>>, text: &'a str, range: std::ops::Range<usize>, line: u64) {
    if let Some(text) = text
        .get(range)
        .filter(|text| first_line(text).is_some())
    {
        chunks.push(Chunk { line, text });
    }
}

/// The first line of a chunk with content, from 0.
fn first_line(text: &str) -> Option<u64> {
    (0..)
        .zip(text.lines())
        .find_map(|(line, content)| {
            let content = content
                .strip_prefix("---")
                .unwrap_or(content)
                .trim();
            let says = !content.is_empty() && !content.starts_with(['#', '%']) && content != "...";
            says.then_some(line)
        })
}

fn yaml(file: &Arc<str>, chunk: &Chunk<'_>) -> Vec<Result<Document, DocumentProblem>> {
    let begins = chunk.line + first_line(chunk.text).unwrap_or_default();
    if chunk.text.len() > LONGEST_DOCUMENT {
        return vec![Err(too_long(file, begins))];
    }
    let broken = |error: &serde_saphyr::Error| {
        let location = error.location();
        let line = location.map_or(1, |at| at.line().max(1));
        let column = location.map_or(1, |at| at.column().max(1));
        DocumentProblem {
            file: file.clone(),
            at: Some((chunk.line + line - 1, column)),
            message: parser_message(&error.to_string(), line, column),
        }
    };
    let objects: Vec<Value> = match serde_saphyr::from_multiple_with_options(chunk.text, options())
    {
        Ok(objects) => objects,
        Err(error) => return vec![Err(broken(&error))],
    };
    let mut documents = Vec::new();
    for object in objects {
        if !is_list(&object) {
            documents.push(document(file, begins, object));
            continue;
        }
        // Parsed again, for the lines of its items.
        match serde_saphyr::from_str_with_options::<YamlList>(chunk.text, options()) {
            Ok(list) => documents.extend(list.items.into_iter().map(|item| {
                let line = chunk.line + item.referenced.line().max(1) - 1;
                document(file, line, item.value).and_then(no_list)
            })),
            Err(error) => documents.push(Err(broken(&error))),
        }
    }
    documents
}

#[derive(Deserialize)]
struct YamlList {
    items: Vec<Spanned<Value>>,
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        // File modes are written as `0400`, which kubectl reads as an octal number.
        legacy_octal_numbers: true,
        with_snippet: false,
        emit_comments: false,
        budget: serde_saphyr::budget! { max_aliases: 1_000, max_anchors: 1_000 },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, format: DocumentFormat) -> Vec<Result<Document, DocumentProblem>> {
        parse(&Arc::from("f"), text, format, |document| document)
    }

    /// Each document as its line and name, or as its problem.
    fn seen(text: &str, format: DocumentFormat) -> Vec<String> {
        read(text, format)
            .into_iter()
            .map(|document| match document {
                Ok(document) => format!("{} {}", document.line, document.object["kind"]),
                Err(problem) => problem.to_string(),
            })
            .collect()
    }

    #[test]
    fn documents_begin_where_their_content_does() {
        let text = "# words\n---\n\napiVersion: v1\nkind: A\n---\n# nothing\n--- {apiVersion: v1, kind: B}\n...\napiVersion: v1\nkind: C\n";
        assert_eq!(
            seen(text, DocumentFormat::Yaml),
            [r#"4 "A""#, r#"8 "B""#, r#"10 "C""#]
        );
        let text = "%YAML 1.2\n---\napiVersion: v1\nkind: A\n";
        assert_eq!(seen(text, DocumentFormat::Yaml), [r#"3 "A""#]);
    }

    #[test]
    fn a_broken_document_costs_only_itself() {
        let text = "apiVersion: v1\nkind: A\n---\nkind: [B\nx: y\n---\napiVersion: v1\nkind: C\n";
        let seen = seen(text, DocumentFormat::Yaml);
        assert_eq!(seen.len(), 3);
        assert!(seen[1].starts_with("f:5:"), "{seen:?}");
        assert_eq!(seen[2], r#"7 "C""#);
    }

    #[test]
    fn the_items_of_a_list_have_lines_of_their_own() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: A\n- apiVersion: v1\n  kind: B\n- {apiVersion: v1, kind: List, items: []}\n";
        assert_eq!(
            seen(text, DocumentFormat::Yaml),
            [
                r#"4 "A""#,
                r#"6 "B""#,
                "f:8:1: a List must not contain a List (hint: put its items into the outer one)"
            ]
        );
        let text = "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [\n{\"apiVersion\": \"v1\", \"kind\": \"A\"},\n{\"apiVersion\": \"v1\", \"kind\": \"B\"}]}\n{\"apiVersion\": \"v1\", \"kind\": \"C\"}";
        assert_eq!(
            seen(text, DocumentFormat::Json),
            [r#"2 "A""#, r#"3 "B""#, r#"4 "C""#]
        );
    }

    #[test]
    fn what_cannot_be_read_is_named_with_line_and_column() {
        for (format, text, expected) in [
            (
                DocumentFormat::Json,
                "{\"kind\": \"A\",\n \"x\" 1}",
                "f:2:6: expected `:`",
            ),
            (
                DocumentFormat::Json,
                "{\"kind\": 1,\n \"kind\": 2}",
                "f:2:11: duplicate field `kind`",
            ),
            (
                DocumentFormat::Yaml,
                "just words",
                "f:1:1: not a manifest: an object with `apiVersion` and `kind` is expected",
            ),
            (
                DocumentFormat::Yaml,
                "\nkind: A",
                "f:2:1: not a manifest: `apiVersion` is not set",
            ),
        ] {
            assert_eq!(seen(text, format), [expected]);
        }
        let duplicate = seen("apiVersion: v1\nkind: A\nkind: B\n", DocumentFormat::Yaml);
        assert!(duplicate[0].starts_with("f:3:1: "), "{duplicate:?}");
        let tab = seen(
            "apiVersion: v1\nkind: A\nspec:\n\tx: 1\n",
            DocumentFormat::Yaml,
        );
        assert!(
            tab[0].starts_with("f:4:2: ") && tab[0].contains("spaces"),
            "{tab:?}"
        );
    }

    #[test]
    fn documents_that_would_grow_without_end_are_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let before = format!("*a{}", level - 1);
            let aliases = vec![before; 10].join(", ");
            bomb = format!("{bomb}a{level}: &a{level} [{aliases}]\n");
        }
        let seen_bomb = seen(&bomb, DocumentFormat::Yaml);
        assert!(
            seen_bomb[0].ends_with("grows too large when its aliases are expanded"),
            "{seen_bomb:?}"
        );

        let long = format!(
            "a: &a {}\nb: [{}]\n",
            "x".repeat(1_000_000),
            vec!["*a"; 900].join(", ")
        );
        assert!(read(&long, DocumentFormat::Yaml)[0].is_err());

        let deep = "[".repeat(100_000);
        assert!(read(&deep, DocumentFormat::Yaml)[0].is_err());
        assert!(read(&deep, DocumentFormat::Json)[0].is_err());

        let many = "x: 1\n---\n".repeat(MOST_DOCUMENTS + 1);
        assert_eq!(
            seen(&many, DocumentFormat::Yaml),
            ["f: more than 100000 documents (hint: split it into several files)"]
        );

        let longer = format!(
            "apiVersion: v1\nkind: A\nx: {}",
            "y".repeat(LONGEST_DOCUMENT)
        );
        assert_eq!(
            seen(&longer, DocumentFormat::Yaml),
            ["f:1:1: the document is longer than 3 MiB, which is the limit of the API server"]
        );
    }
}
