//! A client of the OCI distribution API that looks images up in their registries.
//!
//! ```text
//! [ ImageReference ] -> [ Client ] -> [ Image { digest, platforms, blobs } ] | [ AskError ]
//! ```
//!
//! Only manifests are pulled and, if a manifest does not name its platform, the image's configuration.
//! Invariant: a registry can neither block the client nor exhaust its memory. Every request has a
//! deadline, every answer a size limit, and redirects are limited.

mod access;
mod challenge;
mod client;
mod credentials;
mod error;
mod helper;
mod manifest;
mod proxies;
mod secret;
mod secrets;
mod session;
mod transport;

pub use client::{Client, ClientOptions};
pub use credentials::{Credentials, CredentialsError};
pub use error::AskError;
pub use manifest::{Blob, Image, PlatformImage};
pub use proxies::Proxies;
pub use transport::TransportError;
