use crate::{
    admission::names,
    images::{ImageSettings, Problem, nearest},
};

/// The list of pull secrets that pods get whose Agent names none.
const PULL_SECRETS: &str = "AGENTKUBE_PULL_SECRETS";

/// Every setting that is not one of [`ImageSettings`].
const KNOWN: [&str; 2] = [PULL_SECRETS, "AGENTKUBE_MIRROR_LAYOUT"];

/// Everything that decisions depend on besides the objects: read once at start, never changed.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The matrix as configured: overrides, mirror.
    pub images: ImageSettings,
    /// `AGENTKUBE_PULL_SECRETS`: names of Secrets, for pods whose Agent names none of its own.
    pub pull_secrets: Vec<String>,
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
        for (name, value) in variables {
            if name == PULL_SECRETS {
                match parse_pull_secrets(value) {
                    Ok(names) => pull_secrets = names,
                    Err(problem) => problems.push(problem),
                }
            } else if !name.starts_with("AGENTKUBE_IMAGE_")
                && !KNOWN.contains(&name)
                && !value.trim().is_empty()
            {
                problems.push(unknown(name));
            }
        }
        match images {
            Some(images) if problems.is_empty() => Ok(Self {
                images,
                pull_secrets,
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
                    format!(
                        "{} is not the name of a Secret",
                        super::credential::quote(name)
                    )
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
