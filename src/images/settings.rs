//! The cluster-wide settings for images: one override per row, and the mirror.
//!
//! The table of settings, above this module, maps variables to them.

use std::{collections::BTreeMap, fmt};

use crate::images::{
    Component, ImageReference, Mirror, MirrorLayout, PrefixError, ReferenceError, UnknownLayout,
    nearest, rows,
};

/// The variable with the registry that replaces the one of every default image.
pub const REGISTRY_VARIABLE: &str = "AGENTKUBE_IMAGE_REGISTRY";

/// The prefix of the variables that override the image of a row.
pub(crate) const OVERRIDE_PREFIX: &str = "AGENTKUBE_IMAGE_";

/// The cluster-wide settings for images. By default nothing is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageSettings {
    overrides: BTreeMap<Component, ImageReference>,
    mirror: Option<Mirror>,
    /// The layout of the mirror. It is separate because it may be set before the registry.
    layout: MirrorLayout,
}

impl ImageSettings {
    /// Moves every default image to a mirror.
    ///
    /// # Errors
    ///
    /// The problem with the prefix.
    pub(crate) fn set_registry(&mut self, prefix: &str) -> Result<(), WrongValue> {
        self.mirror = Some(Mirror {
            prefix: prefix.parse()?,
            layout: self.layout,
        });
        Ok(())
    }

    /// Sets the layout of the mirror. Without a mirror it has no effect.
    ///
    /// # Errors
    ///
    /// The problem with the layout.
    pub(crate) fn set_layout(&mut self, layout: &str) -> Result<(), WrongValue> {
        if layout.trim() != layout {
            return Err(WrongValue {
                message: ReferenceError::SurroundingWhitespace.to_string(),
                hint: Some("remove the spaces and line breaks around the layout".to_owned()),
            });
        }
        self.layout = layout.parse()?;
        if let Some(mirror) = &mut self.mirror {
            mirror.layout = self.layout;
        }
        Ok(())
    }

    /// Replaces one image in the whole cluster. The variable selects the row of the matrix.
    ///
    /// # Errors
    ///
    /// A variable of no row, or the problem with the image.
    pub(crate) fn set_override(&mut self, variable: &str, image: &str) -> Result<(), WrongValue> {
        let row = rows()
            .find(|row| row.variable == Some(variable))
            .ok_or_else(|| unknown(variable))?;
        self.overrides
            .insert(row.component, image.parse()?);
        Ok(())
    }

    /// The mirror that default images come from.
    #[must_use]
    pub fn mirror(&self) -> Option<&Mirror> {
        self.mirror.as_ref()
    }

    /// The image that replaces this component's in the whole cluster, verbatim.
    #[must_use]
    pub fn override_for(&self, component: Component) -> Option<&ImageReference> {
        self.overrides.get(&component)
    }

    /// True if the image is, word for word, an override of some component.
    #[must_use]
    pub(super) fn is_override(&self, image: &str) -> bool {
        self.overrides
            .values()
            .any(|reference| reference.as_str() == image)
    }
}

/// A variable that the manager cannot start with. Values are never repeated, since credentials get
/// pasted into wrong places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingProblem {
    /// The variable's name as it was given.
    pub variable: String,
    /// The problem.
    pub message: String,
    /// A hint on how to solve it.
    pub hint: Option<String>,
}

impl fmt::Display for SettingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

/// A [`SettingProblem`] of a variable that the caller knows.
#[derive(Debug)]
pub(crate) struct WrongValue {
    /// The problem with the value.
    pub(crate) message: String,
    /// A hint on how to solve it, if the message does not already say so.
    pub(crate) hint: Option<String>,
}

impl WrongValue {
    pub(crate) fn of(self, variable: &str) -> SettingProblem {
        SettingProblem {
            variable: variable.to_owned(),
            message: self.message,
            hint: self.hint,
        }
    }
}

impl From<PrefixError> for WrongValue {
    fn from(error: PrefixError) -> Self {
        Self {
            message: error.to_string(),
            hint: error.hint().map(str::to_owned),
        }
    }
}

impl From<ReferenceError> for WrongValue {
    fn from(error: ReferenceError) -> Self {
        Self {
            message: error.to_string(),
            hint: error.hint().map(str::to_owned),
        }
    }
}

impl From<UnknownLayout> for WrongValue {
    fn from(error: UnknownLayout) -> Self {
        Self {
            message: error.to_string(),
            hint: error
                .suggestion
                .map(|layout| format!("did you mean `{layout}`?")),
        }
    }
}

fn unknown(variable: &str) -> WrongValue {
    let name = variable
        .strip_prefix(OVERRIDE_PREFIX)
        .unwrap_or(variable);
    if name.eq_ignore_ascii_case(Component::Custom.as_str()) {
        return WrongValue {
            message: "runtime Custom has no default image to override".to_owned(),
            hint: Some("set `spec.image` on the Agent".to_owned()),
        };
    }
    let known = || {
        let variables = rows()
            .filter_map(|row| row.variable)
            .chain([REGISTRY_VARIABLE]);
        variables.filter_map(|variable| variable.strip_prefix(OVERRIDE_PREFIX))
    };
    let hint = if let Some(name) = nearest(name, known()) {
        format!("did you mean {OVERRIDE_PREFIX}{name}?")
    } else {
        let names: Vec<_> = known().collect();
        let names = names.join(", ");
        format!("{OVERRIDE_PREFIX} is followed by one of {names}")
    };
    WrongValue {
        message: "no such image".to_owned(),
        hint: Some(hint),
    }
}

#[cfg(test)]
impl ImageSettings {
    /// Applies variables, for tests below the table of settings.
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        let mut settings = Self::default();
        for (variable, value) in variables {
            let set = match *variable {
                REGISTRY_VARIABLE => settings.set_registry(value),
                "AGENTKUBE_MIRROR_LAYOUT" => settings.set_layout(value),
                variable => settings.set_override(variable, value),
            };
            set.unwrap();
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::resolve;

    fn problem(variable: &str, set: Result<(), WrongValue>) -> String {
        set.unwrap_err()
            .of(variable)
            .to_string()
    }

    #[test]
    fn every_row_with_a_variable_can_be_overridden() {
        for row in rows() {
            let Some(variable) = row.variable else {
                continue;
            };
            let settings = ImageSettings::of(&[(variable, "ghcr.io/org/app:v1")]);
            assert_eq!(
                settings
                    .override_for(row.component)
                    .map(ImageReference::as_str),
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
    fn registry_and_layout_make_the_mirror_in_either_order() {
        let registry = ("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com/exo/");
        let layout = ("AGENTKUBE_MIRROR_LAYOUT", "name");
        for variables in [[layout, registry], [registry, layout]] {
            let settings = ImageSettings::of(&variables);
            let mirror = settings.mirror().unwrap();
            assert_eq!(mirror.prefix.as_str(), "registry.example.com/exo");
            assert_eq!(mirror.layout, MirrorLayout::Name);
        }
    }

    #[test]
    fn a_layout_without_a_registry_is_harmless() {
        let settings = ImageSettings::of(&[("AGENTKUBE_MIRROR_LAYOUT", "name")]);
        assert_eq!(settings.mirror(), None);
        for row in rows() {
            assert_eq!(
                resolve(row.component, None, &settings),
                resolve(row.component, None, &ImageSettings::default())
            );
        }
    }

    #[test]
    fn unknown_variables_get_the_nearest_row() {
        let found = |variable| {
            let set = ImageSettings::default().set_override(variable, "x");
            problem(variable, set)
        };
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
            assert_eq!(
                found(variable),
                format!("{variable}: no such image (hint: did you mean {meant}?)")
            );
        }
        for variable in [
            "AGENTKUBE_IMAGE_",
            "AGENTKUBE_IMAGE_TOOL",
            "AGENTKUBE_IMAGE_QQQ",
        ] {
            let found = found(variable);
            assert!(found.contains("one of MANAGER, AGENTLET, "), "{found}");
        }
    }

    #[test]
    fn the_nearest_layout_is_suggested() {
        let found = |layout| {
            let set = ImageSettings::default().set_layout(layout);
            problem("AGENTKUBE_MIRROR_LAYOUT", set)
        };
        assert_eq!(
            found("Repo"),
            "AGENTKUBE_MIRROR_LAYOUT: must be `repository` or `name` (hint: did you mean `repository`?)"
        );
        assert!(found("name ").contains("whitespace"), "{}", found("name "));
    }
}
