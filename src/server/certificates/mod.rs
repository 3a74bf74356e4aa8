//! Where the serving certificate comes from, and how the API server comes to trust it.
//!
//! ```text
//! [ Secret | directory ] -> [ ServingCertificate ]
//! [ Secret: ca.crt ]     -> [ both registrations: caBundle ]
//! ```
//!
//! Either the manager issues its own certificates and keeps them in a Secret that all replicas
//! share ([`secret`], [`ca_bundle`]), or somebody else puts them into a directory and looks after
//! the trust as well ([`directory`]).

pub mod bundle;
pub mod ca_bundle;
pub mod directory;
pub mod issue;
mod rotation;
pub mod secret;
pub mod trust;

/// Remembers the last trouble, so that one that lasts is logged once
#[derive(Debug, Default)]
pub(super) struct Said(Option<String>);

impl Said {
    /// Whether this trouble differs from the last one
    pub(super) fn is_new(&mut self, trouble: &str) -> bool {
        let new = self.0.as_deref() != Some(trouble);
        if new {
            self.0 = Some(trouble.to_owned());
        }
        new
    }

    /// Forgets the trouble, and tells whether there was one
    pub(super) fn over(&mut self) -> bool {
        self.0.take().is_some()
    }
}
