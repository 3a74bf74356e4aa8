pub(in crate::admission) mod registries;
pub(in crate::admission) mod settings;
pub(in crate::admission) mod variables;

use self::registries::AllowedRegistries;
use crate::images::ImageSettings;

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
