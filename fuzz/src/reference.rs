//! Image references: read as Go's `distribution/reference` reads them.
//!
//! There are two other readers to agree with. What Go itself answered is recorded in
//! `tests/reference-oracle/answers.txt`, for that folder's corpus and for this target's. For any
//! other text there is [`grammar`], which is Go's reader once more: its regular expressions and
//! its few lines around them, where ours looks at bytes.

use std::{collections::HashMap, sync::LazyLock};

use agentkube::images::{ImageReference, MirrorPrefix};
use serde::Deserialize;

/// What a reader makes of a reference. All texts are empty where it is refused.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
struct Answer {
    accepted: bool,
    host: String,
    path: String,
    tag: String,
    digest: String,
}

#[derive(Deserialize)]
struct Recorded {
    text: String,
    #[serde(flatten)]
    answer: Answer,
}

static RECORDED: LazyLock<HashMap<String, Answer>> = LazyLock::new(|| {
    include_str!("../../tests/reference-oracle/answers.txt")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a recorded answer"))
        .map(|Recorded { text, answer }| (text, answer))
        .collect()
});

/// Reads the text as a reference and as the prefix of a mirror.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let ours = read(text);
    assert_eq!(ours, grammar::read(text), "the grammar reads {text:?} so");
    if let Some(go) = RECORDED.get(text) {
        assert_eq!(ours, *go, "Go reads {text:?} so");
    }
    if let Ok(reference) = text.parse::<ImageReference>() {
        assert_eq!(reference.as_str(), text);
        full_form_is_a_fixed_point(&reference, &ours);
    }
    if let Ok(prefix) = text.parse::<MirrorPrefix>() {
        let below = format!("{prefix}/adaptivelive/codex:v1");
        let reference: ImageReference = below.parse().expect("a mirror's image");
        assert!(prefix.covers(&reference), "{below}");
        assert!(!reference.host().is_empty(), "{below}");
    }
}

/// Normalized, a reference means the same, and stays as it is when it is normalized again.
fn full_form_is_a_fixed_point(reference: &ImageReference, answer: &Answer) {
    let full = reference.normalized();
    let again: ImageReference = full
        .parse()
        .expect("the full form is a reference");
    assert_eq!(read(&full), *answer, "{full}");
    assert_eq!(again.normalized(), full);
    assert_eq!(again.pull_always(), reference.pull_always(), "{full}");
}

fn read(text: &str) -> Answer {
    text.parse::<ImageReference>()
        .map_or_else(
            |_| Answer::default(),
            |reference| Answer {
                accepted: true,
                host: reference.host().to_owned(),
                path: reference.path().to_owned(),
                tag: reference
                    .tag()
                    .unwrap_or_default()
                    .to_owned(),
                digest: reference
                    .digest()
                    .unwrap_or_default()
                    .to_owned(),
            },
        )
}

/// `ParseNormalizedNamed` of `distribution/reference` v0.6.0 with its regular expressions.
mod grammar {
    use std::sync::LazyLock;

    use regex::Regex;

    use super::Answer;

    const IDENTIFIER: &str = "[a-f0-9]{64}";
    const LABEL: &str = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
    const IPV6: &str = r"\[(?:[a-fA-F0-9:]+)\]";
    const COMPONENT: &str = "[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*";
    const TAG: &str = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}";
    const DIGEST: &str = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*[:][0-9A-Fa-f]{32,}";
    const NAME_LENGTH_MAX: usize = 255;

    static ANCHORED_IDENTIFIER: LazyLock<Regex> = LazyLock::new(|| regex(IDENTIFIER));
    static NAME: LazyLock<Regex> =
        LazyLock::new(|| regex(&format!("(?:({})/)?({})", domain(), remote())));
    static REFERENCE: LazyLock<Regex> = LazyLock::new(|| {
        let name = format!("(?:{}/)?{}", domain(), remote());
        regex(&format!("({name})(?::({TAG}))?(?:@({DIGEST}))?"))
    });

    pub(super) fn read(text: &str) -> Answer {
        accept(text).unwrap_or_default()
    }

    fn accept(text: &str) -> Option<Answer> {
        if ANCHORED_IDENTIFIER.is_match(text) {
            return None;
        }
        let (domain, remainder) = split(text);
        let remote = remainder
            .split(':')
            .next()
            .unwrap_or_default();
        if remote.to_lowercase() != remote {
            return None;
        }
        let full = format!("{domain}/{remainder}");
        let parts = REFERENCE.captures(&full)?;
        let part = |index| {
            parts
                .get(index)
                .map_or("", |part| part.as_str())
        };
        let name = NAME.captures(part(1))?;
        let host = name
            .get(1)
            .map_or("", |host| host.as_str());
        let path = name
            .get(2)
            .map_or("", |path| path.as_str());
        let digest = part(3);
        if path.len() > NAME_LENGTH_MAX || !(digest.is_empty() || is_digest(digest)) {
            return None;
        }
        Some(Answer {
            accepted: true,
            host: host.to_owned(),
            path: path.to_owned(),
            tag: part(2).to_owned(),
            digest: digest.to_owned(),
        })
    }

    /// `splitDockerDomain`.
    fn split(text: &str) -> (&str, String) {
        let Some((first, rest)) = text.split_once('/') else {
            return ("docker.io", format!("library/{text}"));
        };
        let is_domain =
            first == "localhost" || first.contains(['.', ':']) || first.to_lowercase() != first;
        let (domain, remote) = match first {
            "index.docker.io" => ("docker.io", rest),
            first if is_domain => (first, rest),
            _ => ("docker.io", text),
        };
        if domain == "docker.io" && !remote.contains('/') {
            (domain, format!("library/{remote}"))
        } else {
            (domain, remote.to_owned())
        }
    }

    /// `digest.Parse` with the algorithms that runtimes link in.
    fn is_digest(digest: &str) -> bool {
        let (algorithm, encoded) = digest
            .split_once(':')
            .unwrap_or_default();
        let length = match algorithm {
            "sha256" => 64,
            "sha384" => 96,
            "sha512" => 128,
            _ => return false,
        };
        let is_lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        encoded.len() == length && encoded.bytes().all(is_lower_hex)
    }

    fn domain() -> String {
        format!(r"(?:{LABEL}(?:\.{LABEL})*|{IPV6})(?::[0-9]+)?")
    }

    fn remote() -> String {
        format!("{COMPONENT}(?:/{COMPONENT})*")
    }

    fn regex(text: &str) -> Regex {
        Regex::new(&format!("^(?:{text})$")).expect("a regular expression")
    }
}
