//! What registries say about an image, by the OCI distribution API.
//!
//! ```text
//! [ ImageReference ] -> [ Client ] -> [ Image { digest, platforms, blobs } ] | [ AskError ]
//! ```
//!
//! Nothing is pulled but manifests and, where a manifest does not name its platform, the image's
//! configuration. Invariant: a registry can neither hold us up nor fill our memory. Every request
//! has a deadline, every answer a largest size, redirects end.

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
