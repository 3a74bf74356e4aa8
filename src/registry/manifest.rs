use std::{collections::BTreeMap, fmt::Write as _};

use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use serde::Deserialize;

use super::AskError;

/// What we can read: indexes and manifests of OCI and of Docker.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// The longest part of a platform's name, with room to spare.
const WORD_MAX: usize = 32;

/// An image on a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The digest of the index, or of the only manifest.
    pub digest: String,
    /// The image for each platform that the registry holds it for.
    pub platforms: Vec<PlatformImage>,
    /// Platforms that the index lists and the registry does not hold: a mirror that was filled
    /// with one of them looks so.
    pub hollow: Vec<String>,
}

/// An image for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformImage {
    /// Operating system, architecture and variant, such as `linux/arm64/v8`.
    pub platform: String,
    /// The layers and the configuration: all that a node has to hold.
    pub blobs: Vec<Blob>,
}

impl PlatformImage {
    /// The bytes of all blobs, compressed as on the registry, each counted once.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let distinct: BTreeMap<_, _> = self
            .blobs
            .iter()
            .map(|blob| (&blob.digest, blob.size))
            .collect();
        distinct
            .values()
            .fold(0, |sum: u64, size| sum.saturating_add(*size))
    }
}

/// A piece of an image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Blob {
    /// What it is found by.
    pub digest: String,
    /// Bytes, compressed.
    pub size: u64,
}

/// An index or a manifest, as far as we read it.
#[derive(Debug, Deserialize)]
pub(super) struct ManifestDocument {
    pub(super) manifests: Option<Vec<Child>>,
    pub(super) config: Option<Blob>,
    pub(super) layers: Option<Vec<Blob>>,
}

/// An entry of an index.
#[derive(Debug, Deserialize)]
pub(super) struct Child {
    pub(super) digest: String,
    pub(super) platform: Option<Platform>,
}

/// What an image runs on. The configuration of an image has the same fields.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// Whether it is one: attestations stand in an index as `unknown/unknown`, and what is no word
    /// is not for a person's terminal.
    pub(super) fn is_known(&self) -> bool {
        let Self {
            os,
            architecture,
            variant,
        } = self;
        let is_word = |part: &str| {
            !part.is_empty()
                && part.len() <= WORD_MAX
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        [os, architecture]
            .iter()
            .all(|part| is_word(part) && *part != "unknown")
            && variant
                .as_deref()
                .is_none_or(|variant| variant.is_empty() || is_word(variant))
    }

    /// Such as `linux/arm64/v8`; `unknown` for what is none.
    pub(super) fn name(&self) -> String {
        if !self.is_known() {
            return "unknown".to_owned();
        }
        let Self {
            os,
            architecture,
            variant,
        } = self;
        match variant
            .as_deref()
            .filter(|variant| !variant.is_empty())
        {
            Some(variant) => format!("{os}/{architecture}/{variant}"),
            None => format!("{os}/{architecture}"),
        }
    }
}

/// Reads an answer that should be JSON.
pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a [u8], what: &str) -> Result<T, AskError> {
    serde_json::from_slice(body).map_err(|_| {
        let found = if body
            .trim_ascii_start()
            .starts_with(b"<")
        {
            "a web page"
        } else {
            "something else"
        };
        AskError::Answer(format!(
            "the registry answered with {found} in place of {what}"
        ))
    })
}

/// The digest of a body as registries write it.
pub(super) fn sha256(body: &[u8]) -> String {
    written("sha256", digest(&SHA256, body).as_ref())
}

/// Whether the body is what the digest names. The three algorithms are those of references.
pub(super) fn matches(body: &[u8], wanted: &str) -> bool {
    let algorithm = wanted
        .split(':')
        .next()
        .unwrap_or_default();
    let found = match algorithm {
        "sha256" => digest(&SHA256, body),
        "sha384" => digest(&SHA384, body),
        "sha512" => digest(&SHA512, body),
        _ => return false,
    };
    written(algorithm, found.as_ref()) == wanted
}

fn written(algorithm: &str, digest: &[u8]) -> String {
    let mut text = format!("{algorithm}:");
    for byte in digest {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_are_platforms() {
        let name = |os: &str, architecture: &str, variant: Option<&str>| {
            Platform {
                os: os.to_owned(),
                architecture: architecture.to_owned(),
                variant: variant.map(str::to_owned),
            }
            .name()
        };
        assert_eq!(name("linux", "arm64", Some("v8")), "linux/arm64/v8");
        assert_eq!(name("linux", "amd64", Some("")), "linux/amd64");
        for (os, architecture, variant) in [
            ("", "", None),
            ("unknown", "unknown", None),
            ("linux", "\u{1b}[2J", None),
            ("linux", "arm64", Some("v 8")),
            (&"x".repeat(33), "amd64", None),
        ] {
            assert_eq!(name(os, architecture, variant), "unknown");
        }
    }
}
