//! The settings, read from the environment of a process.

use std::collections::BTreeMap;

use super::{
    Policy,
    settings::{self, ALLOWED_REGISTRIES},
};
use crate::{
    admission::{Placeholder, credential},
    images::{ImageReference, SettingProblem, WrongValue, resolve, rows},
};

impl Policy {
    /// Reads the settings from `AGENTKUBE_*` variables and ignores all others. A blank value counts
    /// as unset, since Helm renders empty strings. If a variable is given twice, the last one
    /// counts.
    ///
    /// # Errors
    ///
    /// All problems, ordered by variable: wrong values, and unknown names, since ignoring a
    /// misspelt setting would fail open. Contradictions between settings come last.
    pub fn parse<'a, I>(variables: I) -> Result<Self, Vec<SettingProblem>>
    where
        I: IntoIterator<Item = (&'a str, &'a str)>,
    {
        let mut variables: BTreeMap<_, _> = variables
            .into_iter()
            .filter(|(name, _)| name.starts_with("AGENTKUBE_") && !is_service_link(name))
            .collect();
        variables.retain(|_, value| !value.trim().is_empty());

        let mut policy = Self::default();
        let mut problems = Vec::new();
        for (name, value) in variables {
            if let Err(wrong) = settings::set(&mut policy, name, value) {
                problems.push(wrong.of(name));
            }
        }
        problems.extend(unresolvable(&policy));
        problems.extend(contradictions(&policy));
        if problems.is_empty() {
            Ok(policy)
        } else {
            Err(problems)
        }
    }
}

/// Settings that point at a placeholder, which would have to be replaced again.
fn unresolvable(policy: &Policy) -> Vec<SettingProblem> {
    levers(policy, |image| {
        let image = image.as_str();
        Placeholder::parse(image)?;
        Some(WrongValue {
            message: format!(
                "{} is a placeholder, which can never be pulled",
                credential::shown(image)
            ),
            hint: Some("name the image, or the registry, that it should come from".to_owned()),
        })
    })
}

/// Settings that point outside the allowed registries, so that nothing they serve could run.
fn contradictions(policy: &Policy) -> Vec<SettingProblem> {
    let allowed = &policy.allowed_registries;
    levers(policy, |image| {
        (!allowed.allow(image)).then(|| WrongValue {
            message: format!(
                "{} is outside {ALLOWED_REGISTRIES}: {allowed}",
                credential::shown(image.as_str())
            ),
            hint: Some(format!(
                "add its registry to {ALLOWED_REGISTRIES}, or choose another"
            )),
        })
    })
}

/// The problems of images that settings choose, the first one for each setting.
fn levers(
    policy: &Policy,
    problem: impl Fn(&ImageReference) -> Option<WrongValue>,
) -> Vec<SettingProblem> {
    let mut problems: Vec<SettingProblem> = Vec::new();
    for row in rows() {
        let Some(resolution) = resolve(row.component, None, &policy.images) else {
            continue;
        };
        let Some(variable) = resolution.variable else {
            continue;
        };
        let is_known = problems
            .iter()
            .any(|known| known.variable == variable);
        if !is_known && let Some(wrong) = problem(&resolution.image) {
            problems.push(wrong.of(variable));
        }
    }
    problems
}

/// True for the variables in the form of Docker links (`AGENTKUBE_MANAGER_SERVICE_HOST`) that
/// Kubernetes sets for every Service of the namespace. They are not settings.
fn is_service_link(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || (name.contains("_PORT_") && (name.contains("_TCP") || name.contains("_UDP")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{admission::SETTINGS, images::ImageSettings};

    #[test]
    fn pull_secrets_are_trimmed_and_named_once() {
        let policy =
            Policy::parse([("AGENTKUBE_PULL_SECRETS", " mirror, backup,mirror ")]).unwrap();
        assert_eq!(policy.pull_secrets, ["mirror", "backup"]);
        assert!(
            Policy::parse([("AGENTKUBE_PULL_SECRETS", "  ")])
                .unwrap()
                .pull_secrets
                .is_empty()
        );
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let problems = Policy::parse([
            ("AGENTKUBE_PULL_SECRETS", "mirror,,backup"),
            ("AGENTKUBE_PULL_SECRET", "mirror"),
            ("AGENTKUBE_IMAGE_CODEX", "https://example.com/codex"),
            ("PATH", "/bin"),
        ])
        .unwrap_err();
        let text = problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n");
        assert_eq!(problems.len(), 3, "{text}");
        assert!(
            text.contains("did you mean AGENTKUBE_PULL_SECRETS?"),
            "{text}"
        );
    }

    #[test]
    fn a_lever_outside_the_allowed_registries_is_a_contradiction() {
        let allowed = (ALLOWED_REGISTRIES, "registry.example.com/mirror");
        let mirror = (
            "AGENTKUBE_IMAGE_REGISTRY",
            "registry.example.com/mirror/exo",
        );
        assert!(Policy::parse([allowed, mirror]).is_ok());
        let problems = Policy::parse([
            allowed,
            ("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com/other"),
            ("AGENTKUBE_IMAGE_CODEX", "quay.io/team/codex:v1"),
        ])
        .unwrap_err();
        let variables = problems
            .iter()
            .map(|problem| problem.variable.as_str())
            .collect::<Vec<_>>();
        assert_eq!(
            variables,
            ["AGENTKUBE_IMAGE_REGISTRY", "AGENTKUBE_IMAGE_CODEX"]
        );
        assert!(Policy::parse([("AGENTKUBE_ENFORCEMENT", "maybe")]).is_err());
    }

    #[test]
    fn references_are_authorized_unless_that_is_turned_off() {
        let authorizes = |value| {
            Policy::parse([("AGENTKUBE_AUTHORIZE_REFERENCES", value)])
                .map(|policy| policy.authorize_references)
        };
        assert!(
            Policy::parse([])
                .unwrap()
                .authorize_references
        );
        assert!(Policy::default().authorize_references);
        for (value, expected) in [("true", true), ("", true), (" ", true), ("false", false)] {
            assert_eq!(authorizes(value).unwrap(), expected, "{value:?}");
        }
        for value in ["no", "False", "0", " false"] {
            let problems = authorizes(value).unwrap_err();
            assert_eq!(problems.len(), 1, "{value:?}");
        }
    }

    #[test]
    fn no_lever_points_at_a_placeholder() {
        for (variable, value) in [
            ("AGENTKUBE_IMAGE_CODEX", "agentkube.invalid/agent"),
            ("AGENTKUBE_IMAGE_REGISTRY", "agentkube.invalid/mirror"),
        ] {
            let problems = Policy::parse([(variable, value)]).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert_eq!(problems[0].variable, variable);
        }
    }

    #[test]
    fn variables_of_services_are_nobodys_settings() {
        let links = [
            ("AGENTKUBE_MANAGER_SERVICE_HOST", "10.0.0.1"),
            ("AGENTKUBE_MANAGER_SERVICE_PORT_WEBHOOK", "443"),
            ("AGENTKUBE_MANAGER_PORT", "tcp://10.0.0.1:443"),
            ("AGENTKUBE_MANAGER_PORT_443_TCP_ADDR", "10.0.0.1"),
        ];
        assert!(Policy::parse(links).is_ok());
    }

    #[test]
    fn other_variables_are_not_looked_at() {
        let strangers = [("PATH", "/bin"), ("IMAGE_CODEX", "!")];
        let policy = Policy::parse(strangers).unwrap();
        assert_eq!(policy.images, ImageSettings::default());
    }

    #[test]
    fn all_problems_are_reported_at_once_in_the_order_of_the_variables() {
        let problems = Policy::parse([
            ("AGENTKUBE_PULL_SECRETS", "a b"),
            ("AGENTKUBE_MIRROR_LAYOUT", "flat"),
            ("AGENTKUBE_IMAGE_REGISTRY", "mirror"),
            ("AGENTKUBE_IMAGE_CODXE", "ghcr.io/org/app"),
            ("AGENTKUBE_IMAGE_CUSTOM", "ghcr.io/org/app"),
            ("AGENTKUBE_IMAGE_AIDER", "https://ghcr.io/org/app"),
            ("AGENTKUBE_IMAGE_CLINE", " ghcr.io/org/app"),
            ("AGENTKUBE_IMAGE_GOOSE", "ghcr.io/Org/app"),
            ("AGENTKUBE_IMAGE_CODEX", "ghcr.io/org/app"),
            ("AGENTKUBE_ALLOWED_REGISTRIES", "mirror"),
        ])
        .unwrap_err();
        let found: Vec<_> = problems
            .iter()
            .map(ToString::to_string)
            .collect();
        insta::assert_snapshot!(found.join("\n"));
    }

    #[test]
    fn problems_never_repeat_the_value_of_an_image() {
        for variable in [
            "AGENTKUBE_IMAGE_CODEX",
            "AGENTKUBE_IMAGE_REGISTRY",
            "AGENTKUBE_MIRROR_LAYOUT",
            "AGENTKUBE_IMAGE_X",
        ] {
            for value in [
                "a_SECRET",
                "https://SECRET",
                "SECRET@x",
                " SECRET",
                "a/SECRET:-",
            ] {
                let problems = Policy::parse([(variable, value)]).unwrap_err();
                assert!(
                    !problems[0]
                        .to_string()
                        .contains("SECRET"),
                    "{problems:?}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn parsing_is_total(name in "AGENTKUBE_(IMAGE|MIRROR)_.*", value in ".*") {
            let _ = Policy::parse([(&*name, &*value)]);
        }

        #[test]
        fn parsing_is_total_for_each_setting(index in 0..SETTINGS.len(), value in ".*") {
            let _ = Policy::parse([(SETTINGS[index].name, &*value)]);
        }
    }
}
