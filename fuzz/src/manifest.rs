//! Manifests as `agentkube review` reads them: YAML and JSON of anybody.

use std::sync::Arc;

use agentkube::offline::{self, Document, DocumentFormat, DocumentProblem, Reviewer, parse};
use serde_json::Value;

use crate::{credentials, world::MIRRORED};

/// Reads the text in both formats, and reviews what could be read.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let file: Arc<str> = Arc::from("f");
    for format in [DocumentFormat::Yaml, DocumentFormat::Json] {
        let mut documents = Vec::new();
        for document in parse(&file, text, format, |document| document) {
            match document {
                Ok(document) => {
                    stands_in(text, document.line, 1);
                    documents.push(document);
                }
                Err(problem) => is_told(text, &problem),
            }
        }
        is_judged(&documents);
    }
}

/// Positions are those of the text; one behind its last line says that it ends too early.
fn stands_in(text: &str, line: u64, column: u64) {
    // For YAML a carriage return ends a line as well.
    let lines = text.matches(['\n', '\r']).count() as u64 + 1;
    assert!((1..=lines + 1).contains(&line), "line {line} of {lines}");
    assert!(column >= 1);
}

fn is_told(text: &str, problem: &DocumentProblem) {
    assert!(!problem.message.is_empty());
    let told = problem.to_string();
    assert!(told.chars().all(is_printable), "{told:?}");
    if let Some((line, column)) = problem.at {
        stands_in(text, line, column);
    }
}

fn is_judged(documents: &[Document]) {
    let reviewer = Reviewer::new(&MIRRORED.policy, true);
    let seen = documents
        .iter()
        .map(|document| reviewer.see(document.clone()))
        .collect();
    let verdicts = reviewer.verdicts(seen);
    assert!(verdicts.len() <= documents.len());
    let text = offline::text(&verdicts, &[], false);
    assert!(text.chars().all(is_printable), "{text:?}");
    let junit = offline::junit(&verdicts, &[]);
    assert!(junit.chars().all(is_printable), "{junit:?}");
    for verdict in &verdicts {
        let document = documents
            .iter()
            .find(|document| document.line == verdict.line);
        let spec = document.map_or(&Value::Null, |document| &document.object["spec"]);
        let told = serde_json::to_string(&(&verdict.decided, &verdict.warnings));
        credentials::are_kept(spec, &told.expect("a verdict is JSON"));
    }
}

/// Neither does a terminal obey it, nor does a parser of XML refuse it.
fn is_printable(character: char) -> bool {
    character == '\n' || !character.is_control()
}
