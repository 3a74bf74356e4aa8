//! Removes everything that looks like a credential. When in doubt a word is removed: this is only a
//! record of denials, and nothing runs from it.

use std::borrow::Cow;

use crate::admission::looks_like_credential;

/// The replacement for a credential.
pub(super) const REDACTED: &str = "[redacted]";

/// The length of the shortest word that counts as random.
const SHORTEST_RANDOM: usize = 24;
/// The same for a word of hexadecimal digits only.
const SHORTEST_HEX: usize = 32;

/// Removes the credentials from a text: words with the shape of one, and those that follow a label
/// such as `password:`, `--token` or `Bearer`.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    if text.contains("PRIVATE KEY-----") {
        return Cow::Borrowed(REDACTED);
    }
    let mut redacted = String::new();
    let mut is_announced = false;
    let mut changes = false;
    for chunk in text.split_inclusive(char::is_whitespace) {
        let word = chunk.trim_end();
        if word.is_empty() {
            redacted.push_str(chunk);
            continue;
        }
        match judge(word, is_announced) {
            WordFate::Keep => redacted.push_str(chunk),
            WordFate::Announce => {
                redacted.push_str(chunk);
                is_announced = true;
                continue;
            }
            WordFate::Redact(kept) => {
                changes = true;
                redacted.push_str(kept);
                redacted.push_str(REDACTED);
                redacted.push_str(
                    chunk
                        .get(word.len()..)
                        .unwrap_or_default(),
                );
            }
        }
        is_announced = false;
    }
    if changes {
        Cow::Owned(redacted)
    } else {
        Cow::Borrowed(text)
    }
}

/// A name that may be shown, or a replacement. Names are not validated yet when admission runs, so
/// they can hold any text.
#[must_use]
pub fn shown(name: &str) -> &str {
    if looks_like_credential(name) {
        REDACTED
    } else {
        name
    }
}

/// The treatment of a word.
enum WordFate<'a> {
    /// It announces that the next word is a credential.
    Announce,
    Keep,
    /// It is removed, except for its beginning.
    Redact(&'a str),
}

fn judge(word: &str, is_announced: bool) -> WordFate<'_> {
    let bare = word.trim_matches(|c: char| "\"'`,;()[]{}".contains(c));
    let is_scheme = SCHEMES
        .iter()
        .any(|scheme| bare.eq_ignore_ascii_case(scheme));
    if is_announced && !is_scheme {
        return WordFate::Redact("");
    }
    if let Some((label, value)) = bare.split_once(['=', ':'])
        && is_secret_name(label)
    {
        let kept = word
            .find(['=', ':'])
            .and_then(|at| word.get(..=at))
            .unwrap_or_default();
        return if value.is_empty() {
            WordFate::Announce
        } else {
            WordFate::Redact(kept)
        };
    }
    let announces =
        is_scheme || bare.starts_with('-') && is_secret_name(bare.trim_start_matches('-'));
    if announces {
        return WordFate::Announce;
    }
    if looks_like_credential(bare) || has_random_part(bare) {
        return WordFate::Redact("");
    }
    WordFate::Keep
}

/// True if a value with this name is a credential, judged by the words of the name: `apiKey`,
/// `DB_PASSWORD`, `client-secret`. A name that only refers to a credential does not count:
/// `secretName`.
pub(super) fn is_secret_name(name: &str) -> bool {
    let words = words(name);
    let refers = words
        .last()
        .is_some_and(|last| REFERENCES.contains(&last.as_str()));
    let is_key = words.windows(2).any(
        |pair| matches!(pair, [first, second] if second == "key" && KEYS.contains(&first.as_str())),
    );
    let is_secret = words
        .iter()
        .any(|word| SECRETS.contains(&word.as_str()));
    !refers && (is_key || is_secret)
}

/// The first words of HTTP headers with credentials.
const SCHEMES: [&str; 2] = ["basic", "bearer"];
/// Words that name a credential.
const SECRETS: [&str; 14] = [
    "apikey",
    "auth",
    "authorization",
    "credential",
    "credentials",
    "pass",
    "passphrase",
    "passwd",
    "password",
    "pwd",
    "secret",
    "secrets",
    "token",
    "tokens",
];
/// Words that turn `key` into the name of a credential.
const KEYS: [&str; 9] = [
    "access",
    "account",
    "api",
    "auth",
    "encryption",
    "master",
    "private",
    "secret",
    "signing",
];
/// Last words of names that only refer to a value or give its kind.
const REFERENCES: [&str; 10] = [
    "file", "id", "mode", "name", "path", "provider", "ref", "refs", "type", "url",
];

/// The words of a name, in lower case: the same for `agentToken`, `AGENT_TOKEN` and `agent-token`.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut was_lower = false;
    let mut starts = true;
    for character in name.chars() {
        if !character.is_ascii_alphanumeric() {
            starts = true;
            continue;
        }
        starts |= was_lower && character.is_ascii_uppercase();
        if starts {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(character.to_ascii_lowercase());
        }
        was_lower = character.is_ascii_lowercase();
        starts = false;
    }
    words
}

/// True if a part of a word looks random: long, of mixed case and with digits, or long and
/// hexadecimal. Digests of images are not secret.
fn has_random_part(word: &str) -> bool {
    let is_digest = word.contains("sha256:") || word.contains("sha512:");
    word.split(|c: char| !c.is_ascii_alphanumeric() && !"+/_-=".contains(c))
        .flat_map(|part| part.split('/'))
        .any(|part| {
            let is_hex = part.len() >= SHORTEST_HEX
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_hexdigit());
            let has = |class: fn(&u8) -> bool| part.as_bytes().iter().any(class);
            let is_mixed = part.len() >= SHORTEST_RANDOM
                && has(u8::is_ascii_digit)
                && has(u8::is_ascii_lowercase)
                && has(u8::is_ascii_uppercase);
            is_mixed || is_hex && !is_digest
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_wherever_they_stand() {
        for (text, kept) in [
            (
                "use sk-ant-api03-AbCdEfGhIjKlMnOpQrSt please",
                "use [redacted] please",
            ),
            ("PASSWORD=hunter2", "PASSWORD=[redacted]"),
            (
                "export DB_PASSWORD=hunter2;",
                "export DB_PASSWORD=[redacted]",
            ),
            (
                "my password: hunter2, thanks",
                "my password: [redacted] thanks",
            ),
            (
                "curl --token hunter2 --verbose",
                "curl --token [redacted] --verbose",
            ),
            ("--api-key=hunter2", "--api-key=[redacted]"),
            (
                "Authorization: Bearer abc",
                "Authorization: Bearer [redacted]",
            ),
            (r#"{"password":"hunter2"}"#, r#"{"password":[redacted]"#),
            (r#""password": "hunter2""#, r#""password": [redacted]"#),
            ("bearer abc.def", "bearer [redacted]"),
            ("https://robot:hunter2@example.com/x", "[redacted]"),
            ("wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY", "[redacted]"),
            ("0123456789abcdef0123456789abcdef", "[redacted]"),
            (
                concat!("-----BEGIN RSA PRIVATE ", "KEY-----\nabc"),
                "[redacted]",
            ),
        ] {
            assert_eq!(redact(text), kept, "{text}");
        }
    }

    #[test]
    fn ordinary_words_stay() {
        let digest = format!("registry.example.com/app@sha256:{}", "0a".repeat(32));
        for text in [
            "Triage incoming GitHub issues: fetch new ones hourly, label, assign.",
            "docker.io/adaptivelive/claudecode:v0.3.0",
            "claude-code-token",
            "secretName: claude-code-token",
            "a very-long-name-of-a-thing-that-is-no-secret-at-all",
            "",
            "  spaces   stay ",
            &digest,
        ] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn names_tell_what_stands_under_them() {
        for name in [
            "password",
            "DB_PASSWORD",
            "apiKey",
            "API_KEY",
            "ANTHROPIC_API_KEY",
            "client-secret",
            "agentToken",
            "awsSecretAccessKey",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "secretRef",
            "secretName",
            "key",
            "tokenPath",
            "name",
            "monkey",
            "imagePullPolicy",
            "",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
