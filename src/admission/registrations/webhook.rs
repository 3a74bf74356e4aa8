//! The webhooks: the table of the API server's calls.

/// The calls that an API server makes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Webhook {
    /// Called before the schema is validated; may patch.
    Mutate,
    /// Beside [`Webhook::Mutate`], for pods of namespaces that opt in: default images that are
    /// written out follow the settings.
    RewriteDefaults,
    /// Called after every mutation; only judges.
    Validate,
}

/// The two phases of admission.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AdmissionPhase {
    /// The object may be patched.
    Mutating,
    /// The object is as it will be stored.
    Validating,
}

impl Webhook {
    /// Every webhook.
    pub const ALL: [Self; 3] = [Self::Mutate, Self::RewriteDefaults, Self::Validate];

    /// The word for labels and logs, the path of the URL, and the phase.
    const fn row(self) -> (&'static str, &'static str, AdmissionPhase) {
        use AdmissionPhase::{Mutating, Validating};
        match self {
            Self::Mutate => ("mutate", "/mutate", Mutating),
            Self::RewriteDefaults => ("rewrite-defaults", "/rewrite-defaults", Mutating),
            Self::Validate => ("validate", "/validate", Validating),
        }
    }

    /// The word for labels and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The path of the URL that the API server calls.
    #[must_use]
    pub const fn path(self) -> &'static str {
        self.row().1
    }

    /// The phase of the call. Only answers in [`AdmissionPhase::Mutating`] have a patch.
    #[must_use]
    pub const fn phase(self) -> AdmissionPhase {
        self.row().2
    }
}
