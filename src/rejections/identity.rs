use aws_lc_rs::digest::{SHA256, digest};

use super::Refusal;
use crate::admission::looks_like_credential;

/// The most bytes of the object's name in the Rejection's name.
const LONGEST_STEM: usize = 36;

/// The number of bytes of the hash in the Rejection's name: enough that nobody can find two objects
/// whose Rejections would have the same name.
const HASH_BYTES: usize = 16;
/// The same as digits of five bits.
const HASH_DIGITS: u32 = 26;

/// The identity of a Rejection: the object, the user and the reason.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Identity {
    pub(super) namespace: Box<str>,
    /// The name of the Rejection, the same on every replica.
    pub(super) name: Box<str>,
}

impl Identity {
    pub(super) fn of(refusal: &Refusal<'_>) -> Self {
        let subject = &refusal.subject;
        let reason = refusal.reason();
        let parts = [
            &subject.group,
            &subject.kind,
            &subject.name,
            refusal.user,
            reason,
        ];
        // No part can contain a NUL, so different lists of parts give different texts.
        let hash = digest(&SHA256, parts.join("\0").as_bytes());
        let hash = hash
            .as_ref()
            .iter()
            .take(HASH_BYTES)
            .fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        let stem = stem(&format!("{}-{}", subject.kind, readable(&subject.name)));
        Self {
            namespace: refusal.namespace.into(),
            name: format!("{stem}-{}", digits(hash)).into(),
        }
    }
}

/// A number in base 32, with digits that are legal in a name.
fn digits(number: u128) -> String {
    (0..HASH_DIGITS)
        .rev()
        .filter_map(|place| {
            let digit = u32::try_from(number >> (5 * place) & 31).ok()?;
            char::from_digit(digit, 32)
        })
        .collect()
}

/// The part of a name that may be shown.
fn readable(name: &str) -> &str {
    if looks_like_credential(name) {
        ""
    } else {
        name
    }
}

/// A legal beginning of a name. Names are not validated yet when admission runs.
fn stem(text: &str) -> String {
    let mut stem: String = text
        .chars()
        .map(|character| match character.to_ascii_lowercase() {
            legal @ ('a'..='z' | '0'..='9') => legal,
            _ => '-',
        })
        .take(LONGEST_STEM)
        .collect();
    stem.truncate(stem.trim_end_matches('-').len());
    let start = stem.trim_start_matches('-');
    if start.is_empty() {
        "object".to_owned()
    } else {
        start.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admission::names, rejections::refusal::tests::refusal};

    #[test]
    fn the_same_object_user_and_reason_are_one() {
        let first = Identity::of(&refusal("a", "bot", "alice"));
        assert_eq!(first, Identity::of(&refusal("a", "bot", "alice")));
        for other in [
            refusal("b", "bot", "alice"),
            refusal("a", "bot2", "alice"),
            refusal("a", "bot", "bob"),
        ] {
            assert_ne!(first, Identity::of(&other));
        }
        assert!(first.name.starts_with("agent-bot-"), "{}", first.name);
    }

    #[test]
    fn a_name_has_128_bits_of_the_hash() {
        assert_eq!(digits(0), "0".repeat(26));
        assert_eq!(digits(u128::MAX), format!("7{}", "v".repeat(25)));
        let all: u128 = (0..HASH_DIGITS).fold(0, |all, place| all | 31 << (5 * place));
        assert_eq!(all, u128::MAX, "no bit is left out");
        let identity = Identity::of(&refusal("a", "bot", "alice"));
        let (_, hash) = identity.name.rsplit_once('-').unwrap();
        assert_eq!(hash.len(), 26, "{}", identity.name);
    }

    #[test]
    fn a_credential_in_place_of_a_name_is_not_part_of_the_rejections() {
        let name = "sk-ant-api03-AbCdEfGhIjKlMnOpQrSt0123456789";
        let identity = Identity::of(&refusal("a", name, "alice"));
        assert!(identity.name.starts_with("agent-"), "{}", identity.name);
        assert!(!identity.name.contains("api03"), "{}", identity.name);
    }

    #[test]
    fn whatever_an_object_is_called_its_rejection_has_a_legal_name() {
        for name in [
            "",
            "---",
            "Ünïcode/../\u{1b}[31m",
            "a.b",
            &"x".repeat(5_000),
        ] {
            let identity = Identity::of(&refusal("a", name, "alice"));
            assert!(names::is_subdomain(&identity.name), "{}", identity.name);
            assert!(identity.name.len() <= 63, "{}", identity.name);
        }
    }
}
