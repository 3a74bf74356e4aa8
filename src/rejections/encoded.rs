//! How many bytes a record takes where the API server keeps it: as JSON, written by Go.
//!
//! Go's encoder escapes more than most: `<`, `>` and `&` take six bytes each, and so do control
//! characters, U+2028 and U+2029.

use serde::Serialize;

/// How many bytes a value takes as JSON; `usize::MAX` for what cannot be written.
pub(super) fn encoded(value: &impl Serialize) -> usize {
    serde_json::to_string(value).map_or(usize::MAX, |json| {
        // Everything else is escaped there already. No structure of JSON has one of these.
        json.len()
            + json
                .chars()
                .map(|character| escaped(character) - character.len_utf8())
                .sum::<usize>()
    })
}

/// How many bytes a text takes between the quotes of a JSON string.
pub(super) fn encoded_text(text: &str) -> usize {
    text.chars().map(in_string).sum()
}

/// The first characters of a text, as many as take no more than `longest` bytes in a JSON string,
/// and whether there were more.
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

/// What Go makes of a character that stands in JSON as it is elsewhere.
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

    /// As Go 1.25 writes it: `json.NewEncoder(os.Stdout).Encode(map[string]string{"text": hard})`.
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
