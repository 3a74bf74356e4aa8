//! One document of a file, and the errors of text that is not one.

use std::{fmt, sync::Arc};

use serde_json::Value;

use super::printable::printable;

/// The longest document in bytes, which is the API server's limit for a request.
pub const LONGEST_DOCUMENT: usize = 3 * 1024 * 1024;

/// An object of a manifest, with its position.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The file, by the name that the user gave.
    pub file: Arc<str>,
    /// The line of its first member, from 1.
    pub line: u64,
    /// The unchanged object.
    pub object: Value,
}

/// A problem with text that cannot be read, with its position.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DocumentProblem {
    /// The file, by the name that the user gave.
    pub file: Arc<str>,
    /// Line and column, from 1; `None` for a problem of the whole file.
    pub at: Option<(u64, u64)>,
    /// The problem.
    pub message: String,
}

impl fmt::Display for DocumentProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, at, message } = self;
        let message = printable(message);
        match at {
            Some((line, column)) => write!(formatter, "{file}:{line}:{column}: {message}"),
            None => write!(formatter, "{file}: {message}"),
        }
    }
}

pub(in crate::offline) fn is_list(object: &Value) -> bool {
    let kind = object
        .get("kind")
        .and_then(Value::as_str);
    kind.is_some_and(|kind| kind.ends_with("List"))
        && object
            .get("items")
            .is_some_and(Value::is_array)
}

pub(in crate::offline) fn no_list(document: Document) -> Result<Document, DocumentProblem> {
    if is_list(&document.object) {
        return Err(DocumentProblem {
            file: document.file,
            at: Some((document.line, 1)),
            message: "a List must not contain a List (hint: put its items into the outer one)"
                .to_owned(),
        });
    }
    Ok(document)
}

pub(in crate::offline) fn document(
    file: &Arc<str>,
    line: u64,
    object: Value,
) -> Result<Document, DocumentProblem> {
    let is_named = |member: &str| {
        object
            .get(member)
            .and_then(Value::as_str)
            .is_some_and(|text| !text.is_empty())
    };
    let missing = ["apiVersion", "kind"]
        .into_iter()
        .find(|member| !is_named(member));
    match missing {
        None => Ok(Document {
            file: file.clone(),
            line,
            object,
        }),
        Some(member) => Err(DocumentProblem {
            file: file.clone(),
            at: Some((line, 1)),
            message: if object.is_object() {
                format!("not a manifest: `{member}` is not set")
            } else {
                "not a manifest: an object with `apiVersion` and `kind` is expected".to_owned()
            },
        }),
    }
}

pub(in crate::offline) fn too_long(file: &Arc<str>, line: u64) -> DocumentProblem {
    DocumentProblem {
        file: file.clone(),
        at: Some((line, 1)),
        message: format!(
            "the document is longer than {} MiB, which is the limit of the API server",
            LONGEST_DOCUMENT / 1024 / 1024
        ),
    }
}

/// The message of a parser, without its own position, and reworded for the parser's limits.
pub(in crate::offline) fn parser_message(says: &str, line: u64, column: u64) -> String {
    for limit in ["alias", "budget breached"] {
        if says.starts_with(limit) && (says.contains("exceeded") || says.contains("breached")) {
            return "the document grows too large when its aliases are expanded".to_owned();
        }
    }
    if says.starts_with("recursion limit exceeded") {
        return "the document is nested too deeply".to_owned();
    }
    let mut text = says.to_owned();
    for comma in [",", ""] {
        text = text.replace(&format!(" at line {line}{comma} column {column}"), "");
    }
    // The parser's options are of no use to an author.
    text = text.replace(", set DuplicateKeyPolicy in Options if acceptable", "");
    if text.contains("tabs ") {
        text.push_str(" (hint: YAML is indented with spaces)");
    }
    text
}
