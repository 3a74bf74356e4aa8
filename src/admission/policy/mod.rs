pub(in crate::admission) mod registries;
pub(in crate::admission) mod settings;
pub(in crate::admission) mod variables;

use self::registries::AllowedRegistries;
use crate::images::ImageSettings;

/// The configuration of all decisions: read once at start, never changed.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The image settings: overrides and mirror.
    pub images: ImageSettings,
    /// `AGENTKUBE_PULL_SECRETS`: pull secrets for pods whose Agent names none.
    pub pull_secrets: Vec<String>,
    /// `AGENTKUBE_ALLOWED_REGISTRIES`: the registries that images may come from.
    pub allowed_registries: AllowedRegistries,
    /// `AGENTKUBE_ENFORCEMENT`: deny or only warn of breaches of policy.
    pub enforcement: Enforcement,
    /// `AGENTKUBE_AUTHORIZE_REFERENCES`: whether the author of an Agent or a Tool needs the right
    /// to use the objects it names.
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

/// The treatment of an object that breaks an administrator's policy.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Enforcement {
    /// It is refused.
    #[default]
    Deny,
    /// It is admitted with a warning, for a careful rollout.
    Warn,
}
