use std::{collections::BTreeMap, fmt::Write as _};

use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use serde::Deserialize;

use super::AskError;

/// The accepted media types: indexes and manifests of OCI and of Docker.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// Length limit of each part of a platform's name.
const WORD_MAX: usize = 32;

/// An image on a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The digest of the index, or of the single manifest.
    pub digest: String,
    /// The image for each platform that the registry holds.
    pub platforms: Vec<PlatformImage>,
    /// Platforms that the index lists but the registry does not hold, as in a mirror that was filled for
    /// one platform.
    pub hollow: Vec<String>,
}

/// An image for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformImage {
    /// Operating system, architecture and variant, such as `linux/arm64/v8`.
    pub platform: String,
    /// The layers and the configuration: everything that a node stores.
    pub blobs: Vec<Blob>,
}

impl PlatformImage {
    /// The compressed bytes of all blobs; duplicates count once.
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

/// A blob of an image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Blob {
    /// The digest.
    pub digest: String,
    /// Compressed bytes.
    pub size: u64,
}

/// The fields of an index or a manifest that are read.
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

/// The platform of an image. An image's configuration has the same fields.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// True for a real platform with a printable name. Attestations appear in an index as
    /// `unknown/unknown`.
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

    /// The name, such as `linux/arm64/v8`; `unknown` unless it is known.
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

/// Parses an answer as JSON.
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
            "the registry answered with {found} instead of {what}"
        ))
    })
}

/// The SHA-256 digest of a body, as registries write it.
pub(super) fn sha256(body: &[u8]) -> String {
    written("sha256", digest(&SHA256, body).as_ref())
}

/// True if the body has the digest. The three algorithms are those of references.
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
