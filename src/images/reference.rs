//! Image references, by the grammar of Go's `distribution/reference`.
//!
//! Container runtimes and the kubelet read references with `ParseNormalizedNamed` of that library
//! (v0.6.0). This parser follows it case by case, including its oddities, and `tests/reference.rs`
//! compares the two.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};
use thiserror::Error;

/// The registry of a reference without a host, and of every default image. Default images always
/// name it, because CRI-O refuses short names in its enforcing mode.
pub const DEFAULT_REGISTRY: &str = "docker.io";

/// The most bytes of a repository path, without the host (`RepositoryNameTotalLengthMax`).
pub(super) const PATH_MAX: usize = 255;

/// The most bytes of a tag.
const TAG_MAX: usize = 128;

/// A valid image reference, kept exactly as it was written.
///
/// ```text
/// [ host[:port] / ] component { / component } [ :tag ] [ @algorithm:hex ]
/// ```
///
/// - The first component is a host only if it is `localhost`, contains `.` or `:`, or has an
///   upper-case letter: `myhost/app` is an organisation on Docker Hub.
/// - Docker Hub is `docker.io`, and its repositories of one component live below `library/`.
/// - An oddity of the grammar: a first component with a dot that cannot be a host for an underscore
///   in it, as in `my_host.example/app`, is part of the path, and the host is empty.
///
/// ```
/// # use agentkube::images::ImageReference;
/// let reference: ImageReference = "nginx:1.29".parse()?;
/// assert_eq!(reference.as_str(), "nginx:1.29");
/// assert_eq!(reference.repository(), "docker.io/library/nginx");
/// # Ok::<(), agentkube::images::ReferenceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference {
    text: String,
    parts: Parts,
}

impl ImageReference {
    /// The reference verbatim.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host with its port, such as `docker.io` or `[::1]:5000`. Empty in the one odd case
    /// above.
    #[must_use]
    pub fn host(&self) -> &str {
        match self.parts.host {
            Host::Absent => "",
            Host::DockerHub => DEFAULT_REGISTRY,
            Host::Written => self
                .text
                .split('/')
                .next()
                .unwrap_or_default(),
        }
    }

    /// The repository's path below the host, such as `library/nginx`.
    #[must_use]
    pub fn path(&self) -> &str {
        match &self.parts.library {
            Some(path) => path,
            None => self.cut().path,
        }
    }

    /// The tag without its colon.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.cut().tag
    }

    /// The digest with its algorithm, such as `sha256:…`.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.cut().digest
    }

    /// Host and path, such as `docker.io/library/nginx`.
    #[must_use]
    pub fn repository(&self) -> String {
        match self.host() {
            "" => self.path().to_owned(),
            host => format!("{host}/{}", self.path()),
        }
    }

    /// The reference with host and path in full. No tag is added.
    #[must_use]
    pub fn normalized(&self) -> String {
        let mut text = self.repository();
        for (separator, part) in [(':', self.tag()), ('@', self.digest())] {
            if let Some(part) = part {
                text.push(separator);
                text.push_str(part);
            }
        }
        text
    }

    /// True if Kubernetes defaults the pull policy of this reference to `Always`: the tag is
    /// `latest`, or there is neither tag nor digest.
    ///
    /// The rule is that of `SetDefaults_Container` in `k8s.io/kubernetes/pkg/apis/core/v1`, where
    /// `latest` counts even beside a digest.
    #[must_use]
    pub fn pull_always(&self) -> bool {
        let Cut {
            path: _,
            tag,
            digest,
        } = self.cut();
        match tag {
            Some(tag) => tag == "latest",
            None => digest.is_none(),
        }
    }

    /// The same tag and digest in another repository, such as `registry.example.com/mirror/app`.
    ///
    /// # Errors
    ///
    /// A [`ReferenceError`] if the repository is invalid.
    pub(crate) fn moved_to(&self, repository: &str) -> Result<Self, ReferenceError> {
        let Cut { path, .. } = self.cut();
        // Tag and digest are the text after the path, with their separators.
        let version = self
            .text
            .get(self.parts.path_start + path.len()..)
            .unwrap_or_default();
        format!("{repository}{version}").try_into()
    }

    fn cut(&self) -> Cut<'_> {
        // `path_start` was found in this very text, so the fallback is never taken.
        Cut::new(
            self.text
                .get(self.parts.path_start..)
                .unwrap_or_default(),
        )
    }
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    /// # Errors
    ///
    /// A [`ReferenceError`] that tells the user what to change. The value is never part of it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = Parts::of(text)?;
        let text = text.to_owned();
        Ok(Self { text, parts })
    }
}

impl TryFrom<String> for ImageReference {
    type Error = ReferenceError;

    /// # Errors
    ///
    /// As for a borrowed text.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let parts = Parts::of(&text)?;
        Ok(Self { text, parts })
    }
}

impl From<ImageReference> for String {
    fn from(reference: ImageReference) -> Self {
        reference.text
    }
}

impl Serialize for ImageReference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text.serialize(serializer)
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// The error of a text that is not an image reference. The author of the text has to fix it.
///
/// Messages complete a sentence about the field, in Kubernetes' own words. They never repeat the
/// value, since credentials get pasted into wrong fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// Empty, or nothing but whitespace.
    #[error("must not be blank")]
    Blank,
    /// The digest has an algorithm that runtimes do not support.
    #[error("must have a digest of `sha256`, `sha384` or `sha512`")]
    DigestAlgorithm,
    /// The digest is too short, too long, or not lower-case hexadecimal.
    #[error(
        "must have a digest of exactly 64 (`sha256`), 96 (`sha384`) or 128 (`sha512`) lower-case hexadecimal digits"
    )]
    DigestEncoding,
    /// The first component can only be a host, but is not a valid one.
    #[error("must begin with a valid host, or with a repository path on Docker Hub")]
    Host,
    /// 64 hexadecimal digits, which tools take for the ID of a local image.
    #[error(
        "must not be 64 hexadecimal digits alone, which is the ID of an image and not its name"
    )]
    ImageId,
    /// Whitespace between other characters.
    #[error("must not contain whitespace")]
    InnerWhitespace,
    /// The path has an empty component, a foreign character, or a separator in the wrong place.
    #[error(
        "must have a repository path of lower-case letters and digits, joined by single `/`, `.`, `_`, `__` or dashes"
    )]
    Path,
    /// The path has an upper-case letter.
    #[error("must have a repository path in lower case")]
    PathUppercase,
    /// The reference begins with a scheme.
    #[error("must not contain a scheme such as `https://` or `docker://`")]
    Scheme,
    /// Whitespace before or after the reference.
    #[error("must not begin or end with whitespace")]
    SurroundingWhitespace,
    /// The tag is empty, too long, or has a foreign character.
    #[error(
        "must have a tag of 1 to {TAG_MAX} letters, digits, `_`, `.` and `-` that begins with neither `.` nor `-`"
    )]
    Tag,
    /// The path is longer than runtimes allow.
    #[error("must have a repository path of at most {PATH_MAX} characters")]
    TooLong,
}

impl ReferenceError {
    /// A hint on how to solve it, if the message does not already say so.
    #[must_use]
    pub const fn hint(self) -> Option<&'static str> {
        match self {
            Self::DigestEncoding => Some("copy the whole digest, or name a tag instead"),
            Self::Host => Some(
                "a port has only digits, and an IPv6 address needs brackets, such as `[2001:db8::1]:5000`",
            ),
            Self::ImageId => {
                Some("write the repository first: `registry.example.com/team/app@sha256:…`")
            }
            Self::Scheme => Some("begin with the host, such as `registry.example.com/team/app:v1`"),
            Self::SurroundingWhitespace => {
                Some("remove the spaces and line breaks around the reference")
            }
            Self::Blank
            | Self::DigestAlgorithm
            | Self::InnerWhitespace
            | Self::Path
            | Self::PathUppercase
            | Self::Tag
            | Self::TooLong => None,
        }
    }
}

/// The image in full, so that two spellings of one image are equal. A text that is not a reference
/// is returned unchanged.
#[must_use]
pub fn normalized(image: &str) -> String {
    image
        .parse::<ImageReference>()
        .map_or_else(|_| image.to_owned(), |reference| reference.normalized())
}

/// Common mistakes, which the grammar would report as something else.
pub(super) fn plain_mistake(text: &str) -> Option<ReferenceError> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        Some(ReferenceError::Blank)
    } else if trimmed != text {
        Some(ReferenceError::SurroundingWhitespace)
    } else if text.contains(char::is_whitespace) {
        Some(ReferenceError::InnerWhitespace)
    } else if text.contains("://") {
        Some(ReferenceError::Scheme)
    } else {
        None
    }
}

/// True if a first component can only be meant as a host (`splitDockerDomain`).
pub(super) fn reads_as_host(first: &str) -> bool {
    let tells = |c: char| matches!(c, '.' | ':') || c.is_ascii_uppercase();
    first == "localhost" || first.contains(tells)
}

/// True if the host is Docker Hub under one of its names.
pub(super) fn is_docker_hub(host: &str) -> bool {
    matches!(host, DEFAULT_REGISTRY | "index.docker.io")
}

/// True if the text is a host with an optional port: a DNS name, an IPv4 address, or an IPv6
/// address in brackets (`DomainRegexp`). The size of the port is not checked.
pub(super) fn is_host(text: &str) -> bool {
    let (name_is_valid, rest) = match text
        .strip_prefix('[')
        .map(|rest| rest.split_once(']'))
    {
        Some(Some((address, rest))) => {
            let valid = |b: u8| b.is_ascii_hexdigit() || b == b':';
            (!address.is_empty() && address.bytes().all(valid), rest)
        }
        Some(None) => return false,
        None => {
            let end = text.find(':').unwrap_or(text.len());
            let (name, rest) = text.split_at(end);
            (name.split('.').all(is_host_label), rest)
        }
    };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    name_is_valid
        && (rest.is_empty()
            || rest
                .strip_prefix(':')
                .is_some_and(is_port))
}

/// Checks a path, but not its length, which includes `library/`.
pub(super) fn check_path(path: &str) -> Result<(), ReferenceError> {
    if path.split('/').all(is_path_component) {
        Ok(())
    } else if path.contains(|c: char| c.is_ascii_uppercase()) {
        Err(ReferenceError::PathUppercase)
    } else {
        Err(ReferenceError::Path)
    }
}

/// The parsed parts of a valid reference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Parts {
    host: Host,
    /// The offset of the path in the text, in bytes.
    path_start: usize,
    /// The path of an official image, if the text leaves out `library/`.
    library: Option<String>,
}

impl Parts {
    fn of(text: &str) -> Result<Self, ReferenceError> {
        // The grammar refuses all mistakes that `plain_mistake` knows. It is only asked for better
        // words.
        Self::by_grammar(text).map_err(|error| plain_mistake(text).unwrap_or(error))
    }

    fn by_grammar(text: &str) -> Result<Self, ReferenceError> {
        if is_image_id(text) {
            return Err(ReferenceError::ImageId);
        }
        let (host, path_start) = match text.split_once('/') {
            Some((first, _)) if is_docker_hub(first) => (Host::DockerHub, first.len() + 1),
            Some((first, _)) if reads_as_host(first) => {
                if is_host(first) {
                    (Host::Written, first.len() + 1)
                } else if is_path_component(first) {
                    (Host::Absent, 0)
                } else {
                    return Err(ReferenceError::Host);
                }
            }
            _ => (Host::DockerHub, 0),
        };
        let cut = Cut::new(
            text.get(path_start..)
                .unwrap_or_default(),
        );
        check_path(cut.path)?;
        cut.tag.map_or(Ok(()), check_tag)?;
        cut.digest
            .map_or(Ok(()), check_digest)?;
        let official = host == Host::DockerHub && !cut.path.contains('/');
        let library = official.then(|| format!("library/{}", cut.path));
        if library
            .as_deref()
            .unwrap_or(cut.path)
            .len()
            > PATH_MAX
        {
            return Err(ReferenceError::TooLong);
        }
        Ok(Self {
            host,
            path_start,
            library,
        })
    }
}

/// The host of a valid reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Host {
    /// There is none: the component in its place belongs to the path.
    Absent,
    /// Docker Hub, written or not.
    DockerHub,
    /// The first component.
    Written,
}

/// The text after the host, cut at its separators.
struct Cut<'a> {
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Cut<'a> {
    fn new(rest: &'a str) -> Self {
        let (rest, digest) = cut_at(rest, '@');
        let (path, tag) = cut_at(rest, ':');
        Self { path, tag, digest }
    }
}

fn cut_at(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// `anchoredIdentifierRegexp`.
fn is_image_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(is_lower_hex)
}

/// `domainNameComponent`.
fn is_host_label(label: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    label.starts_with(alphanumeric)
        && label.ends_with(alphanumeric)
        && label
            .chars()
            .all(|c| alphanumeric(c) || c == '-')
}

/// `pathComponent`: lower-case letters and digits, with one dot, one or two underscores, or any
/// number of dashes between.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separator =
        |text: &str| matches!(text, "" | "." | "_" | "__") || text.bytes().all(|b| b == b'-');
    component.starts_with(alphanumeric)
        && component.ends_with(alphanumeric)
        && component
            .split(alphanumeric)
            .all(separator)
}

/// `TagRegexp`.
fn check_tag(tag: &str) -> Result<(), ReferenceError> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let valid = tag.len() <= TAG_MAX
        && tag.starts_with(word)
        && tag
            .chars()
            .all(|c| word(c) || matches!(c, '.' | '-'));
    if valid {
        Ok(())
    } else {
        Err(ReferenceError::Tag)
    }
}

/// Checks a digest. `DigestRegexp` allows any algorithm, but `opencontainers/go-digest` then
/// refuses those that it cannot compute.
fn check_digest(digest: &str) -> Result<(), ReferenceError> {
    let (algorithm, encoded) = digest
        .split_once(':')
        .unwrap_or((digest, ""));
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return Err(ReferenceError::DigestAlgorithm),
    };
    if encoded.len() == length && encoded.bytes().all(is_lower_hex) {
        Ok(())
    } else {
        Err(ReferenceError::DigestEncoding)
    }
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> ImageReference {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn refusal(text: &str) -> ReferenceError {
        text.parse::<ImageReference>()
            .unwrap_err()
    }

    #[test]
    fn hosts_are_told_from_organisations() {
        for (text, host, path) in [
            ("nginx", "docker.io", "library/nginx"),
            ("myhost/app", "docker.io", "myhost/app"),
            ("docker.io/nginx", "docker.io", "library/nginx"),
            ("index.docker.io/nginx", "docker.io", "library/nginx"),
            ("index.docker.io/org/app", "docker.io", "org/app"),
            ("localhost/app", "localhost", "app"),
            ("myhost:5000/app", "myhost:5000", "app"),
            ("Foo/bar", "Foo", "bar"),
            ("[::1]:5000/app", "[::1]:5000", "app"),
            ("registry.example.com/app", "registry.example.com", "app"),
            (
                "registry.example.com",
                "docker.io",
                "library/registry.example.com",
            ),
            // Go's own oddity: an underscore makes the host part of the path.
            ("my_host.example.com/app", "", "my_host.example.com/app"),
        ] {
            let reference = parse(text);
            assert_eq!((reference.host(), reference.path()), (host, path), "{text}");
            assert_eq!(reference.as_str(), text);
        }
    }

    #[test]
    fn a_port_is_no_tag_and_a_tag_is_no_port() {
        assert_eq!(parse("myhost:5000/app").tag(), None);
        assert_eq!(parse("myhost:5000/app:5001").tag(), Some("5001"));
        let short = parse("myhost:5000");
        assert_eq!(
            (short.host(), short.path(), short.tag()),
            ("docker.io", "library/myhost", Some("5000"))
        );
    }

    #[test]
    fn tag_and_digest_are_both_kept() {
        for (algorithm, length) in [("sha256", 64), ("sha384", 96), ("sha512", 128)] {
            let digest = format!("{algorithm}:{}", "a".repeat(length));
            let reference = parse(&format!("org/app:v1@{digest}"));
            assert_eq!(reference.tag(), Some("v1"));
            assert_eq!(reference.digest(), Some(&*digest));
            assert_eq!(
                reference.normalized(),
                format!("docker.io/org/app:v1@{digest}")
            );
        }
    }

    #[test]
    fn mistakes_are_named() {
        let hex = "0123456789abcdef".repeat(4);
        for (text, error) in [
            ("", ReferenceError::Blank),
            (" \t\n", ReferenceError::Blank),
            (" nginx", ReferenceError::SurroundingWhitespace),
            ("nginx\n", ReferenceError::SurroundingWhitespace),
            ("ngi nx", ReferenceError::InnerWhitespace),
            ("https://ghcr.io/org/app", ReferenceError::Scheme),
            ("docker://nginx", ReferenceError::Scheme),
            (&hex, ReferenceError::ImageId),
            ("Nginx", ReferenceError::PathUppercase),
            ("ghcr.io/Org/app", ReferenceError::PathUppercase),
            ("ghcr.io:http/org/app", ReferenceError::Host),
            ("-ghcr.io/org/app", ReferenceError::Host),
            ("org//app", ReferenceError::Path),
            ("org/app/", ReferenceError::Path),
            ("/org/app", ReferenceError::Path),
            ("org/a_.b", ReferenceError::Path),
            ("org/caf\u{e9}", ReferenceError::Path),
            ("nginx:", ReferenceError::Tag),
            ("nginx:-v1", ReferenceError::Tag),
            ("nginx:v1:v2", ReferenceError::Tag),
            ("nginx@", ReferenceError::DigestAlgorithm),
            ("nginx@latest", ReferenceError::DigestAlgorithm),
            (
                &format!("nginx@SHA256:{hex}"),
                ReferenceError::DigestAlgorithm,
            ),
            (&format!("nginx@md5:{hex}"), ReferenceError::DigestAlgorithm),
            ("nginx@sha256:abc", ReferenceError::DigestEncoding),
            (
                &format!("nginx@sha256:{}", hex.to_uppercase()),
                ReferenceError::DigestEncoding,
            ),
            (
                &format!("nginx@sha512:{hex}"),
                ReferenceError::DigestEncoding,
            ),
        ] {
            assert_eq!(refusal(text), error, "{text:?}");
        }
    }

    #[test]
    fn another_repository_keeps_tag_and_digest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, version) in [
            ("nginx", String::new()),
            ("myhost:5000/app:v1", ":v1".to_owned()),
            (&format!("org/app@{digest}"), format!("@{digest}")),
            (
                &format!("index.docker.io/app:v1@{digest}"),
                format!(":v1@{digest}"),
            ),
            ("my_host.example.com/app:v1", ":v1".to_owned()),
        ] {
            let moved = parse(text).moved_to("registry.example.com/m/app");
            assert_eq!(
                moved.unwrap().as_str(),
                format!("registry.example.com/m/app{version}")
            );
        }
        assert_eq!(parse("nginx").moved_to("a//b"), Err(ReferenceError::Path));
    }

    #[test]
    fn a_text_that_is_given_away_is_kept() {
        let text = "org/app:v1".to_owned();
        let reference = ImageReference::try_from(text.clone()).unwrap();
        assert_eq!(reference, parse(&text));
        assert_eq!(String::from(reference), text);
        assert_eq!(
            ImageReference::try_from("org/ app".to_owned()),
            Err(ReferenceError::InnerWhitespace)
        );
    }

    #[test]
    fn one_image_in_two_spellings_is_one() {
        assert_eq!(normalized("nginx"), normalized("index.docker.io/nginx"));
        assert_eq!(normalized("A B"), "A B");
    }

    #[test]
    fn lengths_end_where_those_of_the_runtimes_end() {
        assert!(
            parse(&format!("ghcr.io/{}", "a".repeat(255)))
                .path()
                .len()
                == 255
        );
        assert_eq!(
            refusal(&format!("ghcr.io/{}", "a".repeat(256))),
            ReferenceError::TooLong
        );
        // The path that Docker Hub adds counts.
        assert!(parse(&"a".repeat(247)).path().len() == 255);
        assert_eq!(refusal(&"a".repeat(248)), ReferenceError::TooLong);
        assert_eq!(
            parse(&format!("app:{}", "t".repeat(128))).path(),
            "library/app"
        );
        assert_eq!(
            refusal(&format!("app:{}", "t".repeat(129))),
            ReferenceError::Tag
        );
    }

    #[test]
    fn the_pull_policy_follows_kubernetes() {
        let digest = format!("@sha256:{}", "0".repeat(64));
        assert!(parse("app").pull_always());
        assert!(parse("app:latest").pull_always());
        assert!(parse("ghcr.io:443/app").pull_always());
        assert!(parse(&format!("app:latest{digest}")).pull_always());
        assert!(!parse(&format!("app{digest}")).pull_always());
        assert!(!parse(&format!("app:v1{digest}")).pull_always());
        assert!(!parse("app:v1").pull_always());
        assert!(!parse("app:LATEST").pull_always());
    }

    #[test]
    fn messages_never_repeat_the_value() {
        for text in [
            "sk-ant-SECRET",
            "https://SECRET",
            "app@SECRET",
            "app:-SECRET",
            "SECRET:x/a",
        ] {
            let error = refusal(text);
            assert!(!format!("{error} {:?}", error.hint()).contains("SECRET"));
        }
    }

    proptest! {
        #[test]
        fn parsing_is_total(text in ".*") {
            let _ = text.parse::<ImageReference>();
        }

        #[test]
        fn what_plain_mistake_names_is_always_refused(text in "[a-z]{0,3}( |\n|\t|://|\u{a0})[a-z./:]{0,5}") {
            prop_assert!(plain_mistake(&text).is_some());
            prop_assert!(text.parse::<ImageReference>().is_err());
        }

        #[test]
        fn the_normal_form_is_stable(text in "([a-zA-Z.:0-9]{1,9}/)?[a-z0-9]{1,3}([._/-][a-z0-9]){0,3}(:[a-zA-Z0-9.]{1,5})?") {
            if let Ok(reference) = text.parse::<ImageReference>() {
                prop_assert_eq!(reference.as_str(), &text);
                let again = parse(&reference.normalized());
                prop_assert_eq!(again.normalized(), reference.normalized());
                prop_assert_eq!(again.repository(), reference.repository());
                prop_assert_eq!(again.tag(), reference.tag());
            }
        }
    }
}
