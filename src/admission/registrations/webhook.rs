//! The webhooks: the one table of what the API server calls.

/// The calls that an API server makes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Webhook {
    /// Before defaulting is final and the schema is validated; may patch.
    Mutate,
    /// Beside [`Webhook::Mutate`], for the pods of namespaces that ask for it: default images that
    /// somebody wrote out follow the levers.
    RewriteDefaults,
    /// After every mutation; only judges.
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

    /// The word in labels and logs, the path that is called, and the phase.
    const fn row(self) -> (&'static str, &'static str, AdmissionPhase) {
        use AdmissionPhase::{Mutating, Validating};
        match self {
            Self::Mutate => ("mutate", "/mutate", Mutating),
            Self::RewriteDefaults => ("rewrite-defaults", "/rewrite-defaults", Mutating),
            Self::Validate => ("validate", "/validate", Validating),
        }
    }

    /// The word in labels and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The path of the URL that the API server calls.
    #[must_use]
    pub const fn path(self) -> &'static str {
        self.row().1
    }

    /// When the API server calls. Only in [`AdmissionPhase::Mutating`] an answer has a patch.
    #[must_use]
    pub const fn phase(self) -> AdmissionPhase {
        self.row().2
    }
}
