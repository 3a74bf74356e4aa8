//! The versions of Kubernetes that there is a control plane of.

use std::env;

use anyhow::bail;

use crate::golang::Module;

/// Chooses one, such as `1.33`; blank is unset.
const VARIABLE: &str = "AGENTKUBE_TEST_KUBERNETES";

/// Each minor version and the Go module with its tools. The first is the default, the last the oldest.
pub(crate) const VERSIONS: [(&str, Module); 2] = [
    ("1.37", control_plane("controlplane")),
    ("1.33", control_plane("controlplane/1.33")),
];

/// The Go module with the tools of the version that the environment asks for.
///
/// # Errors
///
/// There is none of that version.
pub(crate) fn chosen() -> anyhow::Result<Module> {
    let wanted = env::var(VARIABLE).unwrap_or_default();
    named(wanted.trim())
}

fn named(wanted: &str) -> anyhow::Result<Module> {
    let known = VERSIONS.map(|(version, _)| version);
    let mut found = VERSIONS
        .into_iter()
        .filter(|(version, _)| wanted.is_empty() || *version == wanted);
    match found.next() {
        Some((_, module)) => Ok(module),
        None => bail!(
            "`{VARIABLE}` is `{wanted}`, but the supported versions are {}",
            known.join(", ")
        ),
    }
}

const fn control_plane(folder: &'static str) -> Module {
    Module {
        folder,
        title: "the control plane",
        time: "about 15 minutes on 2 cores",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_chosen_by_its_name_and_the_newest_without_one() {
        assert_eq!(named("").unwrap().folder, "controlplane");
        assert_eq!(named("1.33").unwrap().folder, "controlplane/1.33");
        let error = named("1.12").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`AGENTKUBE_TEST_KUBERNETES` is `1.12`, but the supported versions are 1.37, 1.33"
        );
    }
}
