//! A value that looks like a credential is not repeated.

use agentkube::admission::looks_like_credential;
use serde_json::Value;

/// Panics where a text of the value looks like a credential and stands in what people are told.
pub fn are_kept(value: &Value, told: &str) {
    match value {
        Value::String(text) => is_kept(text, told),
        Value::Array(items) => items
            .iter()
            .for_each(|item| are_kept(item, told)),
        Value::Object(members) => members
            .values()
            .for_each(|value| are_kept(value, told)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Panics where the text looks like a credential and stands in what people are told, plainly or as
/// JSON or Rust quote it. In the middle of a word it is another text, which looks like none.
pub fn is_kept(text: &str, told: &str) {
    if !looks_like_credential(text) {
        return;
    }
    for quoted in [Value::from(text).to_string(), format!("{text:?}")] {
        let text = quoted.trim_matches('"');
        let stands_alone = told.match_indices(text).any(|(at, _)| {
            let (before, behind) = (&told[..at], &told[at + text.len()..]);
            (before.is_empty() || before.ends_with(is_end))
                && (behind.is_empty() || behind.starts_with(is_end))
        });
        assert!(!stands_alone, "{text} stands in {told}");
    }
}

/// What words end with where people are told of them.
fn is_end(c: char) -> bool {
    c.is_whitespace() || "\"'`,;()[]{}".contains(c)
}
