//! The mirror: the registry that default images are pulled from instead of their own.
//!
//! ```text
//! docker.io/adaptivelive/codex:v0.3.0
//!     repository layout -> registry.example.com/exo-mirror/adaptivelive/codex:v0.3.0
//!     name layout       -> registry.example.com/exo-mirror/codex:v0.3.0
//! ```
//!
//! Only rows of the matrix are ever rewritten. A reference that is written out stays verbatim.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::images::{
    DEFAULT_REGISTRY, ImageReference, ReferenceError, Row, nearest,
    reference::{PATH_MAX, check_path, is_docker_hub, is_host, plain_mistake, reads_as_host},
    rows,
};

/// A registry that carries the default images, and their layout there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The part before the repository.
    pub prefix: MirrorPrefix,
    /// The part of the repository that is kept.
    pub layout: MirrorLayout,
}

impl Mirror {
    /// The row's default reference on the mirror, with its own tag; `None` for a row without a
    /// default.
    #[must_use]
    pub fn rewrite(&self, row: &Row) -> Option<ImageReference> {
        let repository = self.repository(row.repository?);
        // Every row is valid below any prefix.
        format!("{repository}:{}", row.tag)
            .try_into()
            .ok()
    }

    /// The mirror's repository for a path on the original registry: `adaptivelive/codex`.
    #[must_use]
    pub fn repository(&self, path: &str) -> String {
        let kept = match self.layout {
            MirrorLayout::Name => path.rsplit('/').next().unwrap_or(path),
            MirrorLayout::Repository => path,
        };
        format!("{}/{kept}", self.prefix)
    }
}

/// The layout of repositories on a mirror: `AGENTKUBE_MIRROR_LAYOUT`. The default comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MirrorLayout {
    /// The whole repository path is kept, as Rancher, Zarf, Bitnami and ECK do.
    #[default]
    Repository,
    /// Only the repository's last component is kept, as mirrors of Flux, Istio and Knative do.
    Name,
}

impl MirrorLayout {
    const ALL: [Self; 2] = [Self::Repository, Self::Name];

    /// The value of the variable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Repository => "repository",
        }
    }
}

impl FromStr for MirrorLayout {
    type Err = UnknownLayout;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|layout| layout.as_str() == name)
            .ok_or_else(|| UnknownLayout {
                suggestion: nearest(name, Self::ALL.map(Self::as_str)),
            })
    }
}

impl fmt::Display for MirrorLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that is not a layout. The manager's configuration is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("must be `repository` or `name`")]
pub struct UnknownLayout {
    /// The layout that was probably meant.
    pub suggestion: Option<&'static str>,
}

/// A host with an optional port and path, such as `registry.example.com:5000/exo-mirror`; no
/// scheme, no tag, no digest.
///
/// Every row of the matrix, put below a prefix, is a valid reference on the prefix's host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MirrorPrefix(String);

impl MirrorPrefix {
    /// The prefix without a trailing `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if the reference lies under the prefix: on the same host, and at or below the prefix's
    /// path.
    ///
    /// Hosts are compared whole and paths by components, so `registry.example.com` covers neither
    /// `registry.example.com.evil.org/app` nor `registry.example.com:5000/app`.
    #[must_use]
    pub fn covers(&self, reference: &ImageReference) -> bool {
        let (host, path) = self.parts();
        let host = if is_docker_hub(host) {
            DEFAULT_REGISTRY
        } else {
            host
        };
        reference.host() == host
            && path.is_none_or(|path| {
                let below = reference.path().strip_prefix(path);
                below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }

    fn parts(&self) -> (&str, Option<&str>) {
        host_and_path(&self.0)
    }
}

impl FromStr for MirrorPrefix {
    type Err = PrefixError;

    /// # Errors
    ///
    /// A [`PrefixError`] that tells the user what to change. The value is never part of it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(mistake) = plain_mistake(text) {
            return Err(mistake.into());
        }
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.is_empty() {
            return Err(ReferenceError::Blank.into());
        }
        if text.contains('@') {
            return Err(PrefixError::Digest);
        }
        let (host, path) = host_and_path(text);
        if !reads_as_host(host) {
            return Err(PrefixError::NoHost);
        }
        if !is_host(host) {
            return Err(ReferenceError::Host.into());
        }
        if let Some(path) = path {
            if path.contains(':') {
                return Err(PrefixError::Tag);
            }
            check_path(path)?;
            if path.len() + 1 + longest_repository() > PATH_MAX {
                return Err(PrefixError::TooLong);
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for MirrorPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The error of a text that is not a valid mirror prefix. The manager's configuration is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PrefixError {
    /// The prefix has a digest, which belongs to one image.
    #[error("must not have a digest")]
    Digest,
    /// The prefix has no host. Runtimes would take the first component for an organisation on
    /// Docker Hub.
    #[error(
        "must begin with a host; the first component would be read as a Docker Hub organisation"
    )]
    NoHost,
    /// The prefix has a mistake that any reference can have.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The prefix has a tag, but tags come from the rows.
    #[error("must not have a tag")]
    Tag,
    /// The prefix leaves no room for the longest row.
    #[error("must leave room for the images' own names in {PATH_MAX} characters")]
    TooLong,
}

impl PrefixError {
    /// A hint on how to solve it, if the message does not already say so.
    #[must_use]
    pub const fn hint(self) -> Option<&'static str> {
        match self {
            Self::Digest | Self::Tag => {
                Some("each image keeps its own tag; write host, port and path only")
            }
            Self::NoHost => {
                Some("add a domain or a port, such as `mirror.example.com` or `mirror:5000`")
            }
            Self::Reference(ReferenceError::Scheme) => {
                Some("begin with the host, such as `registry.example.com/exo-mirror`")
            }
            Self::Reference(ReferenceError::SurroundingWhitespace) => {
                Some("remove the spaces and line breaks around the prefix")
            }
            Self::Reference(error) => error.hint(),
            Self::TooLong => Some("shorten the path"),
        }
    }
}

fn host_and_path(prefix: &str) -> (&str, Option<&str>) {
    match prefix.split_once('/') {
        Some((host, path)) => (host, Some(path)),
        None => (prefix, None),
    }
}

fn longest_repository() -> usize {
    let lengths = rows()
        .filter_map(|row| row.repository)
        .map(str::len);
    lengths.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::images::Component;

    fn prefix(text: &str) -> MirrorPrefix {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn codex_on(text: &str, layout: MirrorLayout) -> String {
        let mirror = Mirror {
            prefix: prefix(text),
            layout,
        };
        mirror
            .rewrite(Component::Codex.row().unwrap())
            .unwrap()
            .into()
    }

    #[test]
    fn the_registry_is_replaced_and_the_repository_kept() {
        let image = codex_on("registry.example.com/exo-mirror", MirrorLayout::Repository);
        assert_eq!(
            image,
            "registry.example.com/exo-mirror/adaptivelive/codex:v0.3.0"
        );
        let image = codex_on("localhost:5000", MirrorLayout::default());
        assert_eq!(image, "localhost:5000/adaptivelive/codex:v0.3.0");
    }

    #[test]
    fn the_name_layout_flattens_paths() {
        let image = codex_on("registry.example.com/exo-mirror", MirrorLayout::Name);
        assert_eq!(image, "registry.example.com/exo-mirror/codex:v0.3.0");
    }

    #[test]
    fn a_row_without_a_default_is_not_rewritten() {
        let mirror = Mirror {
            prefix: prefix("localhost"),
            layout: MirrorLayout::Repository,
        };
        assert_eq!(mirror.rewrite(Component::Custom.row().unwrap()), None);
    }

    #[test]
    fn layouts_are_spelt_as_in_the_variable() {
        for layout in MirrorLayout::ALL {
            assert_eq!(layout.as_str().parse(), Ok(layout));
        }
        let error = "Names"
            .parse::<MirrorLayout>()
            .unwrap_err();
        assert_eq!(error.suggestion, Some("name"));
        assert!("".parse::<MirrorLayout>().is_err());
    }

    #[test]
    fn one_trailing_slash_is_trimmed() {
        assert_eq!(
            prefix("registry.example.com/").as_str(),
            "registry.example.com"
        );
        assert_eq!(
            prefix("registry.example.com/exo/").as_str(),
            "registry.example.com/exo"
        );
        assert_eq!(
            "registry.example.com//".parse::<MirrorPrefix>(),
            Err(ReferenceError::Path.into())
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, error) in [
            ("", ReferenceError::Blank.into()),
            ("/", ReferenceError::Blank.into()),
            (" localhost", ReferenceError::SurroundingWhitespace.into()),
            ("localhost/a b", ReferenceError::InnerWhitespace.into()),
            (
                "https://registry.example.com",
                ReferenceError::Scheme.into(),
            ),
            ("mirror", PrefixError::NoHost),
            ("mirror/exo", PrefixError::NoHost),
            ("/registry.example.com", PrefixError::NoHost),
            ("registry.example.com:http", ReferenceError::Host.into()),
            ("my_mirror.example.com", ReferenceError::Host.into()),
            ("2001:db8::1/exo", ReferenceError::Host.into()),
            (
                "registry.example.com/Exo",
                ReferenceError::PathUppercase.into(),
            ),
            ("registry.example.com/a//b", ReferenceError::Path.into()),
            ("registry.example.com/exo:v1", PrefixError::Tag),
            ("registry.example.com/exo@sha256:abc", PrefixError::Digest),
            (
                &format!("localhost/{}", "a".repeat(250)),
                PrefixError::TooLong,
            ),
        ] {
            assert_eq!(text.parse::<MirrorPrefix>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn hosts_of_every_form_are_taken() {
        for text in [
            "localhost",
            "mirror:5000",
            "10.0.0.1",
            "[::1]:5000/a/b",
            "EXO",
            "index.docker.io/exo",
        ] {
            assert_eq!(prefix(text).as_str(), text);
        }
    }

    #[test]
    fn a_prefix_covers_what_lies_under_it_and_nothing_beside_it() {
        let covers = |text: &str, reference: &str| prefix(text).covers(&reference.parse().unwrap());
        assert!(covers(
            "registry.example.com",
            "registry.example.com/app:v1"
        ));
        assert!(covers(
            "registry.example.com/exo",
            "registry.example.com/exo/app"
        ));
        assert!(covers(
            "registry.example.com/exo",
            "registry.example.com/exo:v1"
        ));
        assert!(covers("index.docker.io/exo", "exo/app"));
        assert!(covers("docker.io", "nginx"));
        assert!(!covers(
            "registry.example.com",
            "registry.example.com.evil.org/app"
        ));
        assert!(!covers(
            "registry.example.com",
            "registry.example.com:5000/app"
        ));
        assert!(!covers(
            "registry.example.com/exo",
            "registry.example.com/exo-evil/app"
        ));
        assert!(!covers(
            "registry.example.com/exo",
            "registry.example.com/app"
        ));
        assert!(!covers("registry.example.com", "registry.example.com"));
    }

    proptest! {
        #[test]
        fn parsing_is_total(text in ".*") {
            let _ = text.parse::<MirrorPrefix>();
        }

        #[test]
        fn whatever_is_taken_keeps_its_promise(text in "[a-zA-Z0-9.:_\\[\\]/-]{1,30}", flat in any::<bool>()) {
            let Ok(prefix) = text.parse::<MirrorPrefix>() else { return Ok(()) };
            let layout = if flat { MirrorLayout::Name } else { MirrorLayout::Repository };
            let mirror = Mirror { prefix, layout };
            for row in rows().filter(|row| row.repository.is_some()) {
                let reference = mirror.rewrite(row).unwrap();
                prop_assert!(reference.as_str().starts_with(mirror.prefix.as_str()));
                prop_assert!(mirror.prefix.covers(&reference), "{}", reference);
                prop_assert_eq!(reference.tag(), Some(row.tag));
                prop_assert!(!reference.host().is_empty());
            }
        }
    }
}
