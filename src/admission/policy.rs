use crate::{
    admission::{
        Placeholder, credential, names,
        registries::{self, AllowedRegistries},
    },
    images::{Component, ImageReference, ImageSettings, Problem, nearest, resolve, rows},
};

/// The list of pull secrets that pods get whose Agent names none.
const PULL_SECRETS: &str = "AGENTKUBE_PULL_SECRETS";

/// Whether what breaks a policy is refused, or only warned of.
const ENFORCEMENT: &str = "AGENTKUBE_ENFORCEMENT";

/// Whether authors need rights of their own to what their objects name.
const AUTHORIZE_REFERENCES: &str = "AGENTKUBE_AUTHORIZE_REFERENCES";

/// Every setting that is not one of [`ImageSettings`].
const KNOWN: [&str; 5] = [
    registries::VARIABLE,
    AUTHORIZE_REFERENCES,
    ENFORCEMENT,
    "AGENTKUBE_MIRROR_LAYOUT",
    PULL_SECRETS,
];

/// Everything that decisions depend on besides the objects: read once at start, never changed.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The matrix as configured: overrides, mirror.
    pub images: ImageSettings,
    /// `AGENTKUBE_PULL_SECRETS`: names of Secrets, for pods whose Agent names none of its own.
    pub pull_secrets: Vec<String>,
    /// `AGENTKUBE_ALLOWED_REGISTRIES`: where images may come from.
    pub allowed_registries: AllowedRegistries,
    /// `AGENTKUBE_ENFORCEMENT`: what happens to an object that breaks a policy.
    pub enforcement: Enforcement,
    /// `AGENTKUBE_AUTHORIZE_REFERENCES`: whether who writes an Agent or a Tool needs a right of their
    /// own to what it names.
    pub authorize_references: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            images: ImageSettings::default(),
            pull_secrets: Vec::new(),
            allowed_registries: AllowedRegistries::default(),
            enforcement: Enforcement::default(),
            authorize_references: true,
        }
    }
}

/// What happens to an object that breaks a policy of the admin.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Enforcement {
    /// It is refused.
    #[default]
    Deny,
    /// It is admitted with a warning, for a careful rollout.
    Warn,
}

impl Policy {
    /// Reads the settings from `AGENTKUBE_*` variables; others are not looked at.
    ///
    /// # Errors
    ///
    /// Every problem at once: a value that is not what the variable takes, and any name that
    /// agentkube does not know, because a setting that is ignored in silence fails open.
    pub fn parse<'a, I>(variables: I) -> Result<Self, Vec<Problem>>
    where
        I: IntoIterator<Item = (&'a str, &'a str)>,
    {
        let mut variables = variables
            .into_iter()
            .filter(|(name, _)| name.starts_with("AGENTKUBE_") && !is_service_link(name))
            .collect::<Vec<_>>();
        variables.sort_unstable();

        let mut problems = Vec::new();
        let images = ImageSettings::parse(variables.iter().copied())
            .map_err(|found| problems.extend(found))
            .ok();
        let mut pull_secrets = Vec::new();
        let mut allowed_registries = AllowedRegistries::default();
        let mut enforcement = Enforcement::default();
        let mut authorize_references = true;
        for (name, value) in variables {
            if name == PULL_SECRETS {
                match parse_pull_secrets(value) {
                    Ok(names) => pull_secrets = names,
                    Err(problem) => problems.push(problem),
                }
            } else if name == registries::VARIABLE {
                match AllowedRegistries::parse(value) {
                    Ok(allowed) => allowed_registries = allowed,
                    Err(problem) => problems.push(problem),
                }
            } else if name == ENFORCEMENT {
                match parse_enforcement(value) {
                    Ok(word) => enforcement = word,
                    Err(problem) => problems.push(problem),
                }
            } else if name == AUTHORIZE_REFERENCES {
                match parse_authorize_references(value) {
                    Ok(word) => authorize_references = word,
                    Err(problem) => problems.push(problem),
                }
            } else if !name.starts_with("AGENTKUBE_IMAGE_")
                && !KNOWN.contains(&name)
                && !value.trim().is_empty()
            {
                problems.push(unknown(name));
            }
        }
        if let Some(images) = &images {
            problems.extend(unresolvable(images));
            problems.extend(contradictions(images, &allowed_registries));
        }
        match images {
            Some(images) if problems.is_empty() => Ok(Self {
                images,
                pull_secrets,
                allowed_registries,
                enforcement,
                authorize_references,
            }),
            _ => Err(problems),
        }
    }
}

/// A comma list of Secret names: trimmed, each once, none blank.
fn parse_pull_secrets(value: &str) -> Result<Vec<String>, Problem> {
    let mut secrets: Vec<String> = Vec::new();
    if value.trim().is_empty() {
        return Ok(secrets);
    }
    for name in value.split(',').map(str::trim) {
        if !names::is_subdomain(name) {
            return Err(Problem {
                variable: PULL_SECRETS.to_owned(),
                message: if name.is_empty() {
                    "a name in the list is blank".to_owned()
                } else {
                    format!("{} is not the name of a Secret", credential::quote(name))
                },
                hint: Some(
                    "give a comma list of Secret names, such as `mirror-pull,backup-pull`"
                        .to_owned(),
                ),
            });
        }
        if !secrets
            .iter()
            .any(|known| known == name)
        {
            secrets.push(name.to_owned());
        }
    }
    Ok(secrets)
}

/// A lever that points at a placeholder: what it serves would have to be replaced again.
fn unresolvable(images: &ImageSettings) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    let levers = rows().filter_map(|row| lever(images, row.component));
    for (variable, image) in levers {
        let is_known = problems
            .iter()
            .any(|problem| problem.variable == variable);
        if Placeholder::parse(&image).is_some() && !is_known {
            problems.push(Problem {
                variable: variable.to_owned(),
                message: format!(
                    "{} is a placeholder, which can never be pulled",
                    credential::shown(&image)
                ),
                hint: Some("name the image, or the registry, that it should come from".to_owned()),
            });
        }
    }
    problems
}

/// A lever that points outside the allowed registries: nothing that it serves could ever run.
fn contradictions(images: &ImageSettings, allowed: &AllowedRegistries) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    for component in rows().map(|row| row.component) {
        let Some((variable, image)) = lever(images, component) else {
            continue;
        };
        let is_allowed = image
            .parse::<ImageReference>()
            .is_ok_and(|reference| allowed.allow(&reference));
        if !is_allowed
            && problems
                .iter()
                .all(|problem| problem.variable != variable)
        {
            problems.push(Problem {
                variable: variable.to_owned(),
                message: format!(
                    "{} is outside {}: {allowed}",
                    credential::shown(&image),
                    registries::VARIABLE
                ),
                hint: Some(format!(
                    "add its registry to {}, or choose another",
                    registries::VARIABLE
                )),
            });
        }
    }
    problems
}

/// The lever that chooses a component's image, and the image.
fn lever(images: &ImageSettings, component: Component) -> Option<(&'static str, String)> {
    let resolution = resolve(component, None, images)?;
    Some((resolution.variable?, resolution.image))
}

fn parse_enforcement(value: &str) -> Result<Enforcement, Problem> {
    match value {
        "deny" => Ok(Enforcement::Deny),
        "warn" => Ok(Enforcement::Warn),
        blank if blank.trim().is_empty() => Ok(Enforcement::default()),
        _ => Err(Problem {
            variable: ENFORCEMENT.to_owned(),
            message: "must be `deny` or `warn`".to_owned(),
            hint: None,
        }),
    }
}

fn parse_authorize_references(value: &str) -> Result<bool, Problem> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        blank if blank.trim().is_empty() => Ok(true),
        _ => Err(Problem {
            variable: AUTHORIZE_REFERENCES.to_owned(),
            message: "must be `true` or `false`".to_owned(),
            hint: None,
        }),
    }
}

fn unknown(name: &str) -> Problem {
    Problem {
        variable: name.to_owned(),
        message: "no such setting".to_owned(),
        hint: nearest(
            name,
            KNOWN
                .into_iter()
                .chain(["AGENTKUBE_IMAGE_REGISTRY"]),
        )
        .map(|near| format!("did you mean {near}?")),
    }
}

/// Kubernetes puts variables for every Service of the namespace into containers, in the form
/// of Docker links (`AGENTKUBE_MANAGER_SERVICE_HOST`): those are nobody's settings.
fn is_service_link(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || (name.contains("_PORT_") && (name.contains("_TCP") || name.contains("_UDP")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_secrets_are_trimmed_and_named_once() {
        let policy = Policy::parse([(PULL_SECRETS, " mirror, backup,mirror ")]).unwrap();
        assert_eq!(policy.pull_secrets, ["mirror", "backup"]);
        assert!(
            Policy::parse([(PULL_SECRETS, "  ")])
                .unwrap()
                .pull_secrets
                .is_empty()
        );
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let problems = Policy::parse([
            (PULL_SECRETS, "mirror,,backup"),
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
        let allowed = (registries::VARIABLE, "registry.example.com/mirror");
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
        assert!(Policy::parse([(ENFORCEMENT, "maybe")]).is_err());
    }

    #[test]
    fn references_are_authorized_unless_that_is_turned_off() {
        let authorizes = |value| {
            Policy::parse([(AUTHORIZE_REFERENCES, value)]).map(|policy| policy.authorize_references)
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
}
