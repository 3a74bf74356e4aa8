//! The size of a record in the API server's store: as JSON, written by Go.
//!
//! Go's encoder escapes more than most: `<`, `>` and `&` take six bytes each, and so do control
//! characters, U+2028 and U+2029.

use serde::Serialize;

/// The size of a value as JSON in bytes; `usize::MAX` if it cannot be serialized.
pub(super) fn encoded(value: &impl Serialize) -> usize {
    serde_json::to_string(value).map_or(usize::MAX, |json| {
        // All other characters are already escaped here. JSON's own syntax needs no escapes.
        json.len()
            + json
                .chars()
                .map(|character| escaped(character) - character.len_utf8())
                .sum::<usize>()
    })
}

/// The size of a text inside a JSON string, in bytes.
pub(super) fn encoded_text(text: &str) -> usize {
    text.chars().map(in_string).sum()
}

/// The longest beginning of a text that takes at most `longest` bytes in a JSON string, and whether
/// it was cut.
pub(super) fn cut(text: &str, longest: usize) -> (&str, bool) {
    let mut taken = 0;
    for (start, character) in text.char_indices() {
        taken += in_string(character);
        if taken > longest {
            return (text.split_at(start).0, true);
        }
    }
    (text, false)
}

fn in_string(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => escaped(character),
    }
}

/// The size in bytes of a character in Go's JSON, if other encoders do not escape it.
fn escaped(character: char) -> usize {
    match character {
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => 6,
        _ => character.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HARD: &str = "a\"\\/\n\r\t\u{8}\u{c}\u{0}\u{1f}\u{7f}<>&é\u{2028}\u{2029}世😀";

    /// The output of Go 1.25 for
    /// `json.NewEncoder(os.Stdout).Encode(map[string]string{"text": hard})`.
    const BY_GO: &str = "{\"text\":\"a\\\"\\\\/\\n\\r\\t\\b\\f\\u0000\\u001f\u{7f}\\u003c\\u003e\\u0026é\\u2028\\u2029世😀\"}";

    #[test]
    fn bytes_are_those_that_the_api_server_writes() {
        assert_eq!(encoded(&json!({"text": HARD})), BY_GO.len());
        assert_eq!(encoded_text(HARD) + r#"{"text":""}"#.len(), BY_GO.len());
    }

    #[test]
    fn a_text_is_cut_at_what_its_escapes_leave() {
        assert_eq!(cut("<<<", 18), ("<<<", false));
        assert_eq!(cut("<<<", 17), ("<<", true));
        assert_eq!(cut("aé", 2), ("a", true));
        assert_eq!(cut("", 0), ("", false));
        for longest in 0..200 {
            assert!(encoded_text(cut(HARD, longest).0) <= longest);
        }
    }
}
