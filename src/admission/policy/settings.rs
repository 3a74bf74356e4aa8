//! The table of a manager's settings.
//!
//! The parser of the environment, `--help`, the README's table, the Helm chart's values, their
//! schema and its template of the environment, and the dictionary for fuzzing all come from
//! [`SETTINGS`]. A new setting is a new row here and a new field of [`Policy`]; `.ci/generate` then
//! writes the files. The variables for images of single components are in the rows of
//! [`MATRIX`](crate::images::MATRIX).

use super::{Enforcement, Policy, registries::AllowedRegistries};
use crate::{
    admission::{credential, names},
    images::{OVERRIDE_PREFIX, REGISTRY_VARIABLE, WrongValue, nearest},
};

/// The variable for the registries that images may come from.
pub(in crate::admission) const ALLOWED_REGISTRIES: &str = "AGENTKUBE_ALLOWED_REGISTRIES";

/// Every setting except the images of single components, in the order of the documentation.
pub static SETTINGS: &[Setting] = &[
    Setting {
        name: REGISTRY_VARIABLE,
        value: SettingValue::Text,
        default: "",
        example: "registry.example.com/exo-mirror",
        helm: "registry",
        help: "the mirror that every other image comes from",
        docs: "the mirror that every default image moves to: a host, with an optional port and path",
        hint: Some("give a host, with an optional port and path"),
        read: |policy, value| policy.images.set_registry(value),
    },
    Setting {
        name: "AGENTKUBE_MIRROR_LAYOUT",
        value: SettingValue::Word(&["repository", "name"]),
        default: "repository",
        example: "name",
        helm: "layout",
        help: "paths on the mirror, with or without the organisation",
        docs: "how paths look on the mirror: `repository` keeps them, `name` drops the organisation, for mirrors \
               that flatten paths",
        hint: None,
        read: |policy, value| policy.images.set_layout(value),
    },
    Setting {
        name: ALLOWED_REGISTRIES,
        value: SettingValue::List,
        default: "",
        example: "registry.example.com/team,quay.io",
        helm: "allowedRegistries",
        help: "registries, or parts of one, that images may come from",
        docs: "registries, or parts of one, that images may come from: whatever an Agent's or Tool's pod would run \
               from elsewhere is refused, on the Agent, on its pod, and when the image of a running pod is changed",
        hint: Some("give a comma list of registries"),
        read: |policy, value| {
            policy.allowed_registries = AllowedRegistries::parse(value)?;
            Ok(())
        },
    },
    Setting {
        name: "AGENTKUBE_ENFORCEMENT",
        value: SettingValue::Word(&["deny", "warn"]),
        default: "deny",
        example: "warn",
        helm: "enforcement",
        help: "what happens to a breach of policy",
        docs: "what happens to a breach of policy, such as an image from elsewhere or a token in plain sight: with \
               `warn` it is admitted with a warning, for a careful rollout",
        hint: None,
        read: |policy, value| {
            let words = [("deny", Enforcement::Deny), ("warn", Enforcement::Warn)];
            policy.enforcement = one_of(value, words)?;
            Ok(())
        },
    },
    Setting {
        name: "AGENTKUBE_AUTHORIZE_REFERENCES",
        value: SettingValue::Switch,
        default: "true",
        example: "false",
        helm: "authorizeReferences",
        help: "whether authors need rights to what they name",
        docs: "whether the author of an Agent or a Tool needs a right to each Secret, ConfigMap and \
               ServiceAccount that it names (to `get` it, to act as that ServiceAccount, or to create pods there). \
               With `false`, anyone who may write Agents can use all of them; then remove the policies, too, \
               with the component `unasked-references`, or `authorizeReferences: false` in Helm",
        hint: None,
        read: |policy, value| {
            policy.authorize_references = one_of(value, [("true", true), ("false", false)])?;
            Ok(())
        },
    },
    Setting {
        name: "AGENTKUBE_PULL_SECRETS",
        value: SettingValue::List,
        default: "",
        example: "mirror-pull,backup-pull",
        helm: "pullSecrets",
        help: "Secrets to pull with, for pods whose Agent names none",
        docs: "Secrets for pods whose Agent names none of its own in `spec.imagePullSecrets`",
        hint: Some("give a comma list of Secret names"),
        read: |policy, value| {
            policy.pull_secrets = secret_names(value)?;
            Ok(())
        },
    },
];

/// A setting of the whole manager.
#[derive(Debug)]
pub struct Setting {
    /// The variable's name.
    pub name: &'static str,
    /// The kind of its value.
    pub value: SettingValue,
    /// The default value; empty if there is none.
    pub default: &'static str,
    /// An example, different from the default.
    pub example: &'static str,
    /// The name of the value in the Helm chart.
    pub helm: &'static str,
    /// A short description that follows the name.
    pub help: &'static str,
    /// The full description, as Markdown.
    pub docs: &'static str,
    /// A hint for a wrong value, if the problem itself does not say what to do. The example is
    /// appended.
    pub hint: Option<&'static str>,
    /// Reads a value that is not blank. The order in which settings are read does not matter.
    read: fn(&mut Policy, &str) -> Result<(), WrongValue>,
}

/// The kind of a setting's value.
#[derive(Clone, Copy, Debug)]
pub enum SettingValue {
    /// A comma-separated list.
    List,
    /// `true` or `false`.
    Switch,
    /// A text with its own rules.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
}

impl SettingValue {
    /// The words that the value must be one of. Empty if any text is possible.
    #[must_use]
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::List | Self::Text => &[],
            Self::Switch => &["true", "false"],
            Self::Word(words) => words,
        }
    }
}

/// Applies a variable to the policy.
pub(in crate::admission) fn set(
    policy: &mut Policy,
    name: &str,
    value: &str,
) -> Result<(), WrongValue> {
    match SETTINGS
        .iter()
        .find(|setting| setting.name == name)
    {
        Some(setting) => (setting.read)(policy, value).map_err(|wrong| with_hint(wrong, setting)),
        None if name.starts_with(OVERRIDE_PREFIX) => policy.images.set_override(name, value),
        None => Err(unknown(name)),
    }
}

fn with_hint(wrong: WrongValue, setting: &Setting) -> WrongValue {
    let Setting { hint, example, .. } = setting;
    WrongValue {
        message: wrong.message,
        hint: wrong
            .hint
            .or_else(|| hint.map(|hint| format!("{hint}, such as `{example}`"))),
    }
}

fn unknown(name: &str) -> WrongValue {
    let near = nearest(
        name,
        SETTINGS
            .iter()
            .map(|setting| setting.name),
    );
    WrongValue {
        message: "no such setting".to_owned(),
        hint: near.map(|near| format!("did you mean {near}?")),
    }
}

/// The value that a word stands for.
fn one_of<T, const N: usize>(value: &str, words: [(&str, T); N]) -> Result<T, WrongValue> {
    let known = words
        .each_ref()
        .map(|(word, _)| format!("`{word}`"))
        .join(" or ");
    words
        .into_iter()
        .find(|(word, _)| *word == value)
        .map(|(_, meaning)| meaning)
        .ok_or_else(|| WrongValue {
            message: format!("must be {known}"),
            hint: None,
        })
}

/// A comma-separated list of Secret names: trimmed, without blanks and duplicates.
fn secret_names(list: &str) -> Result<Vec<String>, WrongValue> {
    let mut secrets: Vec<String> = Vec::new();
    for name in list.split(',').map(str::trim) {
        if !names::is_subdomain(name) {
            return Err(WrongValue {
                message: if name.is_empty() {
                    "a name in the list is blank".to_owned()
                } else {
                    format!("{} is not the name of a Secret", credential::quote(name))
                },
                hint: None,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::images::rows;

    /// Debug output of a whole policy.
    fn read(name: &str, value: &str) -> String {
        format!("{:?}", Policy::parse([(name, value)]).unwrap())
    }

    #[test]
    fn defaults_are_what_counts_where_nothing_is_set_and_examples_are_something_else() {
        let nothing = format!("{:?}", Policy::default());
        for setting in SETTINGS {
            assert_eq!(
                read(setting.name, setting.default),
                nothing,
                "{}",
                setting.name
            );
            assert_ne!(
                read(setting.name, setting.example),
                nothing,
                "{}",
                setting.name
            );
        }
    }

    #[test]
    fn the_words_of_a_setting_are_those_that_are_read() {
        for setting in SETTINGS {
            let words = setting.value.words();
            let read: BTreeSet<_> = words
                .iter()
                .map(|word| read(setting.name, word))
                .collect();
            assert_eq!(read.len(), words.len(), "{}", setting.name);
            let problems = Policy::parse([(setting.name, "neither")]);
            if !words.is_empty() {
                let known = words
                    .iter()
                    .map(|word| format!("`{word}`"))
                    .collect::<Vec<_>>()
                    .join(" or ");
                assert_eq!(
                    problems.unwrap_err()[0].message,
                    format!("must be {known}"),
                    "{}",
                    setting.name
                );
            }
        }
    }

    #[test]
    fn no_variable_stands_for_two_things() {
        let variables: Vec<_> = SETTINGS
            .iter()
            .map(|setting| setting.name)
            .chain(rows().filter_map(|row| row.variable))
            .collect();
        let distinct: BTreeSet<_> = variables.iter().collect();
        assert_eq!(distinct.len(), variables.len());
        let values: BTreeSet<_> = SETTINGS
            .iter()
            .map(|setting| setting.helm)
            .collect();
        assert_eq!(values.len(), SETTINGS.len());
    }

    #[test]
    fn blank_values_are_unset() {
        let variables = SETTINGS
            .iter()
            .map(|setting| setting.name)
            .chain(rows().filter_map(|row| row.variable))
            .chain(["AGENTKUBE_IMAGE_CUSTOM", "AGENTKUBE_UNKNOWN"]);
        for variable in variables {
            for blank in ["", " ", " \n", "\t"] {
                assert_eq!(
                    read(variable, blank),
                    format!("{:?}", Policy::default()),
                    "{variable}"
                );
            }
        }
    }
}
