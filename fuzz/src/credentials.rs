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
    // Of a user and password in front of a host, everything up to a space is one word.
    let marks = if text.contains('@') { "-_./" } else { "-_." };
    let is_word = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
    for quoted in [Value::from(text).to_string(), format!("{text:?}")] {
        let text = quoted.trim_matches('"');
        let stands_alone = told
            .match_indices(text)
            .any(|(at, _)| !told[..at].ends_with(is_word));
        assert!(!stands_alone, "{text} stands in {told}");
    }
}
