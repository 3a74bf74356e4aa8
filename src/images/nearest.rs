//! Suggestions for misspelt words.

/// The candidate that `word` was probably meant to be, or `None` if no candidate is similar. Case
/// is ignored.
pub fn nearest(
    word: &str,
    candidates: impl IntoIterator<Item = &'static str>,
) -> Option<&'static str> {
    // Words come from users and may be megabytes long. No candidate is similar to such a word.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase();
    let mut best: Option<(f64, &'static str)> = None;
    for candidate in candidates {
        let score = similarity(&word, &candidate.to_lowercase());
        if score >= NEAR && best.is_none_or(|(highest, _)| score > highest) {
            best = Some((score, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The least similarity of a suggestion. Below it, suggestions confuse: `openai` would become
/// `OpenCode`.
const NEAR: f64 = 0.85;

/// The similarity of two words, from 0 to 1. A word that is a part of the other, such as `recorder`
/// of `session_recorder`, is just similar enough.
fn similarity(word: &str, candidate: &str) -> f64 {
    let score = strsim::jaro_winkler(word, candidate);
    if word.len() >= 4 && candidate.contains(word) {
        score.max(NEAR)
    } else {
        score
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::{Runtime, runtimes};

    #[test]
    fn nearest_finds_what_was_meant_and_nothing_else() {
        let suggest = |word: &str| nearest(word, runtimes().map(Runtime::as_str));
        assert_eq!(suggest("codxe"), Some("Codex"));
        assert_eq!(suggest("CLAUDE"), Some("ClaudeCode"));
        assert_eq!(suggest("claude-code"), Some("ClaudeCode"));
        assert_eq!(suggest("gose"), Some("Goose"));
        for word in [
            "",
            "openai",
            "copilot",
            "windsurf",
            "x",
            &"codex".repeat(1000),
        ] {
            assert_eq!(suggest(word), None, "{word}");
        }
        assert_eq!(
            nearest("RECORDER", ["REGISTRY", "SESSION_RECORDER"]),
            Some("SESSION_RECORDER")
        );
        assert_eq!(
            nearest("postgresql", ["mysql", "postgres"]),
            Some("postgres")
        );
    }
}
