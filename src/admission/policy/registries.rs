use std::fmt;

use crate::{
    admission::credential,
    images::{ImageReference, MirrorPrefix, WrongValue},
};

/// The registries, or paths on registries, that images may come from. An empty list allows all.
///
/// References are compared in normalized form and by whole components: `registry.example.com` allows
/// neither `registry.example.com.evil.org/app` nor `registry.example.com:5000/app`, and `nginx` is
/// under `docker.io/library`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AllowedRegistries(Vec<MirrorPrefix>);

impl AllowedRegistries {
    /// Reads a comma-separated list of prefixes: a host, or a host and a path.
    ///
    /// # Errors
    ///
    /// The first entry that is not a prefix.
    pub(in crate::admission) fn parse(list: &str) -> Result<Self, WrongValue> {
        let mut prefixes = Vec::new();
        if list.trim().is_empty() {
            return Ok(Self(prefixes));
        }
        for entry in list.split(',').map(str::trim) {
            let prefix = entry
                .parse::<MirrorPrefix>()
                .map_err(|error| WrongValue {
                    message: format!("{} {error}", credential::quote(entry)),
                    hint: None,
                })?;
            prefixes.push(prefix);
        }
        Ok(Self(prefixes))
    }

    /// True if every image is allowed.
    pub(in crate::admission) fn allow_all(&self) -> bool {
        self.0.is_empty()
    }

    /// The prefixes. Empty if every image is allowed.
    pub(in crate::admission) fn iter(&self) -> impl Iterator<Item = &MirrorPrefix> {
        self.0.iter()
    }

    /// True if an image of this reference is allowed.
    #[must_use]
    pub fn allow(&self, reference: &ImageReference) -> bool {
        self.allow_all()
            || self
                .0
                .iter()
                .any(|prefix| prefix.covers(reference))
    }
}

impl fmt::Display for AllowedRegistries {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, prefix) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str(", ")?;
            }
            // The path may hold a token that was pasted by mistake.
            formatter.write_str(credential::shown(prefix.as_str()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{Policy, policy::settings::ALLOWED_REGISTRIES};

    fn allows(list: &str, image: &str) -> bool {
        AllowedRegistries::parse(list)
            .unwrap()
            .allow(&image.parse().unwrap())
    }

    #[test]
    fn only_whole_components_count() {
        for image in [
            "registry.example.com/app",
            "registry.example.com/team/app:v1",
            "registry.example.com/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            assert!(allows("registry.example.com", image), "{image}");
        }
        for image in [
            "registry.example.com.evil.org/app",
            "registry.example.com:5000/app",
            "registry.example.community/app",
            "evil.org/registry.example.com/app",
            "Registry.Example.Com/app",
            "nginx",
        ] {
            assert!(!allows("registry.example.com", image), "{image}");
        }
    }

    #[test]
    fn what_only_looks_like_an_allowed_registry_is_no_reference_at_all() {
        for image in [
            "registry.example.com@evil.org/app",
            "registry.example.com:80@evil.org/app",
            "https://registry.example.com/app",
            "registry.example.com/../evil.org/app",
            "registry.example.com//app",
            "registry.example.com\u{200b}/app",
            " registry.example.com/app",
        ] {
            assert!(image.parse::<ImageReference>().is_err(), "{image}");
        }
    }

    #[test]
    fn a_path_narrows_and_docker_hub_has_one_name() {
        assert!(allows("quay.io/team", "quay.io/team/app"));
        assert!(allows("quay.io/team/app", "quay.io/team/app:v1"));
        assert!(!allows("quay.io/team", "quay.io/teammates/app"));
        assert!(allows("docker.io/library", "nginx:1.27"));
        assert!(allows("docker.io", "adaptivelive/codex:v0.3.0"));
        assert!(!allows("docker.io/library", "adaptivelive/codex:v0.3.0"));
    }

    #[test]
    fn a_prefix_that_looks_like_a_credential_is_not_repeated() {
        let token = "sk-0123456789abcdefghijm";
        let list = format!("quay.io/team, registry.example.com/{token}");
        let shown = AllowedRegistries::parse(&list)
            .unwrap()
            .to_string();
        assert!(shown.starts_with("quay.io/team, "), "{shown}");
        assert!(!shown.contains(token), "{shown}");
    }

    #[test]
    fn an_empty_list_allows_all_and_a_blank_entry_is_a_problem() {
        assert!(allows("  ", "nginx"));
        for list in [
            "quay.io,,docker.io",
            "https://quay.io",
            "mirror",
            "quay.io/app:v1",
        ] {
            assert!(AllowedRegistries::parse(list).is_err(), "{list}");
            let problems = Policy::parse([(ALLOWED_REGISTRIES, list)]).unwrap_err();
            assert_eq!(problems[0].variable, ALLOWED_REGISTRIES, "{list}");
        }
    }
}
