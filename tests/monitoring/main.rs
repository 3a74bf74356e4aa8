//! What is shipped to watch the manager with holds against what the manager tells: rules, dashboard
//! and documentation against a real scrape, the rules on made-up series with `promtool`.

#![cfg(test)]

mod dashboard;
mod documentation;
mod kustomize;
mod manager;
mod query;
mod rules;
mod scrape;

use std::{fs, path::PathBuf};

use serde_json::Value;

/// The text of a file of this repository.
fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()))
}

/// A list of a document, empty where there is none.
fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// A text of a document.
fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
}

/// What is needed, or a word of why the test is skipped; under CI=true it may not be.
fn needed<T>(found: Result<T, String>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(reason) if std::env::var("CI").is_ok_and(|value| value == "true") => {
            panic!("under CI=true the tests of monitoring may not be skipped: {reason}")
        }
        Err(reason) => {
            eprintln!("\nSKIPPED: a test of monitoring needs its tools\n{reason}\n");
            None
        }
    }
}
