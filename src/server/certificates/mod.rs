//! The serving certificate: its sources, and the API server's trust in it.
//!
//! ```text
//! [ Secret | directory ] -> [ ServingCertificate ]
//! [ Secret: ca.crt ]     -> [ both registrations: caBundle ]
//! ```
//!
//! Either the manager issues its own certificates and keeps them in a Secret that all replicas share
//! ([`secret`], [`ca_bundle`]), or another program puts them into a directory and maintains the trust as
//! well ([`directory`]).

pub mod bundle;
pub mod ca_bundle;
pub mod directory;
pub mod issue;
pub mod pair;
mod rotation;
pub mod secret;
pub mod trust;
