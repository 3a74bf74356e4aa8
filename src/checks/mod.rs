//! What can be wrong around a manager: looked for before it starts, by `agentkube manager --check`,
//! and while it runs.
//!
//! Each check stands in one place, and both ways to run it come to the same words.

pub mod registrations;

/// What is looked for; the names are those of lines on the terminal and of a metric's label
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Check {
    /// The version of the API server
    ApiServer,
    /// Whether caBundle is ours to keep
    CaBundle,
    /// The certificate that is or would be served
    Certificate,
    /// Our own resources
    Crds,
    /// Whether there is a second installation
    Installations,
    /// What the manager has to be permitted
    Permissions,
    /// Whether the registrations are there and point at us
    Registrations,
    /// The Secret of the certificate
    Secret,
}

impl Check {
    /// All of them, in the order in which they are told
    pub const ALL: [Self; 8] = [
        Self::ApiServer,
        Self::Crds,
        Self::Permissions,
        Self::Secret,
        Self::Certificate,
        Self::Registrations,
        Self::CaBundle,
        Self::Installations,
    ];

    /// The name
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApiServer => "api-server",
            Self::CaBundle => "ca-bundle",
            Self::Certificate => "certificate",
            Self::Crds => "crds",
            Self::Installations => "installations",
            Self::Permissions => "permissions",
            Self::Registrations => "registrations",
            Self::Secret => "secret",
        }
    }
}
