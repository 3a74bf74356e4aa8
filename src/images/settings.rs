//! What the manager's variables say about images.
//!
//! Every mistake is reported at once, and no mistake is passed over: a misspelt variable that does
//! nothing is found out too late, when something runs that should not.

use std::{collections::BTreeMap, fmt};

use crate::images::{
    Component, ImageReference, Mirror, MirrorLayout, MirrorPrefix, PrefixError, ReferenceError,
    UnknownLayout, nearest, rows,
};

/// The variable with the prefix that replaces the registry of every default image.
pub const REGISTRY_VARIABLE: &str = "AGENTKUBE_IMAGE_REGISTRY";

/// The variable with the mirror's layout.
pub const LAYOUT_VARIABLE: &str = "AGENTKUBE_MIRROR_LAYOUT";

/// What all variables of images begin with.
const VARIABLE_PREFIX: &str = "AGENTKUBE_IMAGE_";

/// The cluster-wide settings for images. The default is that nothing is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageSettings {
    overrides: BTreeMap<Component, ImageReference>,
    mirror: Option<Mirror>,
}

impl ImageSettings {
    /// Reads `AGENTKUBE_IMAGE_*` and `AGENTKUBE_MIRROR_LAYOUT` from the variables and ignores all
    /// others. A blank value is as good as none, since Helm renders empty strings; of a variable
    /// that is given twice the last counts.
    ///
    /// # Errors
    ///
    /// Every problem there is, ordered by variable.
    pub fn parse<I, K, V>(variables: I) -> Result<Self, Vec<Problem>>
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let mut settings = Self::default();
        let mut prefix = None;
        let mut layout = MirrorLayout::default();
        let mut problems = Vec::new();
        for (variable, value) in set_variables(variables) {
            let read = if variable == LAYOUT_VARIABLE {
                read_layout(&value).map(|read| layout = read)
            } else if variable == REGISTRY_VARIABLE {
                value
                    .parse::<MirrorPrefix>()
                    .map(|read| prefix = Some(read))
                    .map_err(Complaint::from)
            } else {
                settings.read_override(&variable, &value)
            };
            if let Err(Complaint { message, hint }) = read {
                problems.push(Problem {
                    variable,
                    message,
                    hint,
                });
            }
        }
        if problems.is_empty() {
            settings.mirror = prefix.map(|prefix| Mirror { prefix, layout });
            Ok(settings)
        } else {
            Err(problems)
        }
    }

    /// The mirror that default images come from.
    #[must_use]
    pub fn mirror(&self) -> Option<&Mirror> {
        self.mirror.as_ref()
    }

    /// The image that replaces this component's everywhere, verbatim.
    #[must_use]
    pub fn override_for(&self, component: Component) -> Option<&str> {
        self.overrides
            .get(&component)
            .map(ImageReference::as_str)
    }

    /// Whether the image, word for word, is what some component is overridden with.
    #[must_use]
    pub(super) fn is_override(&self, image: &str) -> bool {
        self.overrides
            .values()
            .any(|reference| reference.as_str() == image)
    }

    fn read_override(&mut self, variable: &str, value: &str) -> Result<(), Complaint> {
        let row = rows()
            .find(|row| row.variable == Some(variable))
            .ok_or_else(|| unknown(variable))?;
        self.overrides
            .insert(row.component, value.parse()?);
        Ok(())
    }
}

/// A variable that the manager cannot start with. Values are never repeated: people paste
/// credentials into the wrong place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable's name as it was given.
    pub variable: String,
    /// What is wrong with it.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

/// A [`Problem`] of a variable that the caller knows.
struct Complaint {
    message: String,
    hint: Option<String>,
}

impl From<PrefixError> for Complaint {
    fn from(error: PrefixError) -> Self {
        Self {
            message: error.to_string(),
            hint: error.hint().map(str::to_owned),
        }
    }
}

impl From<ReferenceError> for Complaint {
    fn from(error: ReferenceError) -> Self {
        Self {
            message: error.to_string(),
            hint: error.hint().map(str::to_owned),
        }
    }
}

impl From<UnknownLayout> for Complaint {
    fn from(error: UnknownLayout) -> Self {
        Self {
            message: error.to_string(),
            hint: error
                .suggestion
                .map(|layout| format!("did you mean `{layout}`?")),
        }
    }
}

/// Ours among the variables, by name, without those that are blank.
fn set_variables<I, K, V>(variables: I) -> BTreeMap<String, String>
where
    I: IntoIterator<Item = (K, V)>,
    K: AsRef<str>,
    V: AsRef<str>,
{
    let is_ours = |name: &str| name.starts_with(VARIABLE_PREFIX) || name == LAYOUT_VARIABLE;
    let mut set: BTreeMap<_, _> = variables
        .into_iter()
        .filter(|(name, _)| is_ours(name.as_ref()))
        .map(|(name, value)| (name.as_ref().to_owned(), value.as_ref().to_owned()))
        .collect();
    set.retain(|_, value| !value.trim().is_empty());
    set
}

fn read_layout(value: &str) -> Result<MirrorLayout, Complaint> {
    if value.trim() != value {
        return Err(Complaint {
            message: ReferenceError::SurroundingWhitespace.to_string(),
            hint: Some("remove the spaces and line breaks around the layout".to_owned()),
        });
    }
    Ok(value.parse()?)
}

fn unknown(variable: &str) -> Complaint {
    let name = variable
        .strip_prefix(VARIABLE_PREFIX)
        .unwrap_or(variable);
    if name.eq_ignore_ascii_case(Component::Custom.as_str()) {
        return Complaint {
            message: "runtime Custom has no default image to override".to_owned(),
            hint: Some("set `spec.image` on the Agent".to_owned()),
        };
    }
    let known = || {
        let variables = rows()
            .filter_map(|row| row.variable)
            .chain([REGISTRY_VARIABLE]);
        variables.filter_map(|variable| variable.strip_prefix(VARIABLE_PREFIX))
    };
    let hint = if let Some(name) = nearest(name, known()) {
        format!("did you mean {VARIABLE_PREFIX}{name}?")
    } else {
        let names: Vec<_> = known().collect();
        let names = names.join(", ");
        format!("{VARIABLE_PREFIX} is followed by one of {names}")
    };
    Complaint {
        message: "no such image".to_owned(),
        hint: Some(hint),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problems(variables: &[(&str, &str)]) -> Vec<String> {
        let problems = ImageSettings::parse(variables.iter().copied()).unwrap_err();
        problems
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn nothing_set_is_the_default() {
        let empty: [(&str, &str); 0] = [];
        assert_eq!(ImageSettings::parse(empty), Ok(ImageSettings::default()));
        let strangers = [
            ("PATH", "/bin"),
            ("AGENTKUBE_PULL_SECRETS", "a b"),
            ("IMAGE_CODEX", "!"),
        ];
        assert_eq!(
            ImageSettings::parse(strangers),
            Ok(ImageSettings::default())
        );
    }

    #[test]
    fn blank_values_are_unset() {
        let variables = [
            ("AGENTKUBE_IMAGE_CODEX", ""),
            ("AGENTKUBE_IMAGE_REGISTRY", " \n"),
            ("AGENTKUBE_MIRROR_LAYOUT", "\t"),
            ("AGENTKUBE_IMAGE_CUSTOM", ""),
        ];
        assert_eq!(
            ImageSettings::parse(variables),
            Ok(ImageSettings::default())
        );
    }

    #[test]
    fn every_row_with_a_variable_can_be_overridden() {
        for row in rows() {
            let Some(variable) = row.variable else {
                continue;
            };
            let settings = ImageSettings::parse([(variable, "ghcr.io/org/app:v1")]).unwrap();
            assert_eq!(
                settings.override_for(row.component),
                Some("ghcr.io/org/app:v1")
            );
            let others = rows().filter(|other| other.component != row.component);
            assert!(
                others
                    .map(|other| settings.override_for(other.component))
                    .all(|image| image.is_none())
            );
        }
    }

    #[test]
    fn registry_and_layout_make_the_mirror() {
        let settings = ImageSettings::parse([
            ("AGENTKUBE_MIRROR_LAYOUT", "name"),
            ("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com/exo/"),
        ]);
        let settings = settings.unwrap();
        let mirror = settings.mirror().unwrap();
        assert_eq!(mirror.prefix.as_str(), "registry.example.com/exo");
        assert_eq!(mirror.layout, MirrorLayout::Name);
    }

    #[test]
    fn a_layout_without_a_registry_is_harmless() {
        let settings = ImageSettings::parse([("AGENTKUBE_MIRROR_LAYOUT", "name")]);
        assert_eq!(settings, Ok(ImageSettings::default()));
    }

    #[test]
    fn all_problems_are_reported_at_once_in_the_order_of_the_variables() {
        let found = problems(&[
            ("AGENTKUBE_MIRROR_LAYOUT", "flat"),
            ("AGENTKUBE_IMAGE_REGISTRY", "mirror"),
            ("AGENTKUBE_IMAGE_CODXE", "ghcr.io/org/app"),
            ("AGENTKUBE_IMAGE_CUSTOM", "ghcr.io/org/app"),
            ("AGENTKUBE_IMAGE_AIDER", "https://ghcr.io/org/app"),
            ("AGENTKUBE_IMAGE_CLINE", " ghcr.io/org/app"),
            ("AGENTKUBE_IMAGE_GOOSE", "ghcr.io/Org/app"),
            ("AGENTKUBE_IMAGE_CODEX", "ghcr.io/org/app"),
        ]);
        assert_eq!(
            found,
            [
                "AGENTKUBE_IMAGE_AIDER: must not contain a scheme such as `https://` or `docker://` (hint: begin with the host, such as `registry.example.com/team/app:v1`)",
                "AGENTKUBE_IMAGE_CLINE: must not begin or end with whitespace (hint: remove the spaces and line breaks around the reference)",
                "AGENTKUBE_IMAGE_CODXE: no such image (hint: did you mean AGENTKUBE_IMAGE_CODEX?)",
                "AGENTKUBE_IMAGE_CUSTOM: runtime Custom has no default image to override (hint: set `spec.image` on the Agent)",
                "AGENTKUBE_IMAGE_GOOSE: must have a repository path in lower case",
                "AGENTKUBE_IMAGE_REGISTRY: must begin with a host, and the first component would be read as a Docker Hub organisation (hint: add a domain or a port, such as `mirror.example.com` or `mirror:5000`)",
                "AGENTKUBE_MIRROR_LAYOUT: must be `repository` or `name`",
            ]
        );
    }

    #[test]
    fn unknown_variables_get_the_nearest_row() {
        for (variable, meant) in [
            ("AGENTKUBE_IMAGE_codex", "AGENTKUBE_IMAGE_CODEX"),
            ("AGENTKUBE_IMAGE_CLAUDE_CODE", "AGENTKUBE_IMAGE_CLAUDECODE"),
            ("AGENTKUBE_IMAGE_CLAUDE", "AGENTKUBE_IMAGE_CLAUDECODE"),
            (
                "AGENTKUBE_IMAGE_RECORDER",
                "AGENTKUBE_IMAGE_SESSION_RECORDER",
            ),
            ("AGENTKUBE_IMAGE_REGISTRIES", "AGENTKUBE_IMAGE_REGISTRY"),
        ] {
            let found = problems(&[(variable, "x")]);
            assert_eq!(
                found,
                [format!(
                    "{variable}: no such image (hint: did you mean {meant}?)"
                )]
            );
        }
        for variable in [
            "AGENTKUBE_IMAGE_",
            "AGENTKUBE_IMAGE_TOOL",
            "AGENTKUBE_IMAGE_QQQ",
        ] {
            let found = problems(&[(variable, "x")]);
            assert!(found[0].contains("one of MANAGER, AGENTLET, "), "{found:?}");
        }
    }

    #[test]
    fn the_nearest_layout_is_suggested() {
        let found = problems(&[("AGENTKUBE_MIRROR_LAYOUT", "Repo")]);
        assert_eq!(
            found,
            [
                "AGENTKUBE_MIRROR_LAYOUT: must be `repository` or `name` (hint: did you mean `repository`?)"
            ]
        );
        let found = problems(&[("AGENTKUBE_MIRROR_LAYOUT", "name ")]);
        assert!(found[0].contains("whitespace"), "{found:?}");
    }

    #[test]
    fn problems_never_repeat_the_value() {
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
                let found = problems(&[(variable, value)]);
                assert!(!found[0].contains("SECRET"), "{found:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn parsing_is_total(name in "AGENTKUBE_(IMAGE|MIRROR)_.*", value in ".*") {
            let _ = ImageSettings::parse([(name, value)]);
        }
    }
}
