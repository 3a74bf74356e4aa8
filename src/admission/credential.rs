//! Credentials are never echoed, logged or recorded. This module recognizes values that look like
//! one.

use std::borrow::Cow;

/// The text shown instead of a credential.
pub(super) const NOT_SHOWN: &str = "(not shown: it looks like a credential)";

/// The prefixes of well-known tokens.
const PREFIXES: [&str; 14] = [
    "sk-",
    "sk_",
    "pk_live_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xox",
    "hf_",
    "AIza",
    "eyJ",
];

/// The length of the shortest token; shorter words with such a prefix are just names.
const SHORTEST_TOKEN: usize = 20;

/// A quoted value is cut after this many characters.
const LONGEST_QUOTE: usize = 128;

/// True if a word of a value has the shape of a credential: a token with a well-known prefix, or a
/// user and password in front of a host.
#[must_use]
pub fn looks_like_credential(value: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let token = value
        .split(|c| !is_word(c))
        .any(|word| word.len() >= SHORTEST_TOKEN && is_token(word));
    token || has_userinfo(value)
}

/// [`looks_like_credential`] in CEL, for a value that is an object name: one word without upper
/// case letters.
pub(super) fn looks_like_credential_in_cel(name: &str) -> String {
    let can_begin = |prefix: &&str| {
        prefix
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    };
    let prefixes = PREFIXES
        .into_iter()
        .filter(can_begin)
        .collect::<Vec<_>>()
        .join("|");
    format!(
        "{name}.size() >= {SHORTEST_TOKEN} && {name}.matches('^({prefixes})') && {name}.matches('[0-9]')"
    )
}

/// A text of another origin, such as an error of the API server that quotes the wrong value, with
/// all words hidden that look like a credential.
#[must_use]
pub fn hide_credentials(text: &str) -> Cow<'_, str> {
    if !text
        .split_whitespace()
        .any(looks_like_credential)
    {
        return Cow::Borrowed(text);
    }
    let words = text
        .split_inclusive(char::is_whitespace)
        .map(|chunk| {
            let word = chunk.trim_end();
            if looks_like_credential(word) {
                chunk.replace(word, NOT_SHOWN)
            } else {
                chunk.to_owned()
            }
        });
    Cow::Owned(words.collect())
}

/// A value for a message, without quotes.
pub(super) fn shown(value: &str) -> &str {
    if looks_like_credential(value) {
        NOT_SHOWN
    } else {
        value
    }
}

/// A value in quotes for a message. Credentials are hidden and long values are cut.
pub(crate) fn quote(value: &str) -> String {
    if looks_like_credential(value) {
        return NOT_SHOWN.to_owned();
    }
    match value.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{:?}", format!("{}…", value.split_at(end).0)),
        None => format!("{value:?}"),
    }
}

fn is_token(word: &str) -> bool {
    // An AWS access key has a fixed length and no separator after its prefix.
    let aws = word.len() == 20
        && (word.starts_with("AKIA") || word.starts_with("ASIA"))
        && word
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    // Every real token has digits; `sk-hynix-build-machines` is just a name.
    let has_digit = word
        .bytes()
        .any(|byte| byte.is_ascii_digit());
    aws || has_digit
        && PREFIXES
            .iter()
            .any(|prefix| word.starts_with(prefix))
}

/// True for `scheme://user:password@host`, with or without the scheme: a `:` before an `@` that
/// does not begin a digest.
fn has_userinfo(value: &str) -> bool {
    let rest = value
        .split_once("://")
        .map_or(value, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    match authority.rsplit_once('@') {
        Some((user, host)) => user.contains(':') && !host.contains(':'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_not_echoed_wherever_they_stand() {
        for value in [
            "sk-ant-api03-AbCdEfGhIjKlMnOpQrSt",
            "ghp_0123456789abcdefghij0123456789abcdef",
            "AKIAIOSFODNN7EXAMPLE",
            "https://robot:hunter2@registry.example.com/agent",
            "robot:hunter2@registry.example.com",
            "registry.example.com/sk-proj-0123456789abcdefghij:v1",
        ] {
            assert!(looks_like_credential(value), "{value}");
            assert_eq!(quote(value), "(not shown: it looks like a credential)");
        }
    }

    #[test]
    fn names_and_references_are_echoed() {
        let digest = format!("nginx:1.27@sha256:{}", "0".repeat(64));
        for value in [
            "claude-code-token",
            "sk-hynix-build-machines-token",
            "Foo/bar:v1",
            "",
            &digest,
        ] {
            assert!(!looks_like_credential(value), "{value}");
            assert_eq!(quote(value), format!("{value:?}"));
        }
    }

    #[test]
    fn the_words_of_others_lose_their_credentials_and_nothing_else() {
        for (text, hidden) in [
            (
                "pods \"a\" is forbidden: none",
                "pods \"a\" is forbidden: none",
            ),
            (
                "Invalid value: \"sk-ant-api03-AbCdEfGhIjKlMnOpQrSt\": no  label",
                "Invalid value: (not shown: it looks like a credential) no  label",
            ),
            (
                "pull of https://robot:hunter2@registry.example.com/a failed",
                "pull of (not shown: it looks like a credential) failed",
            ),
        ] {
            assert_eq!(hide_credentials(text), hidden);
        }
    }

    #[test]
    fn a_long_value_is_cut_on_a_character() {
        let quoted = quote(&"é".repeat(5000));
        assert_eq!(quoted.chars().count(), LONGEST_QUOTE + 3);
    }
}
