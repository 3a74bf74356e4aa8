//! What stands between the API server's connection and a decision: listeners, TLS, certificates,
//! probes, metrics, drain.
//!
//! ```text
//! [ TCP ] -> [ slot ] -> [ TLS: ServingCertificate ] -> [ HTTP/1.1 ] -> [ Router ]
//!                              ^ Secret or directory          ^ `Connection: close` while draining
//! ```
//!
//! Only [`webhook`] knows what a review says. A replica lives through three phases, [`Shutdown`] tells
//! them to everyone: it serves, it drains (readiness is off, requests are still answered), it has
//! finished.

pub mod body;
pub mod certificates;
pub mod client_auth;
pub mod connection;
mod connections;
pub mod deadline;
pub mod limits;
pub mod listener;
pub mod metrics_authorization;
pub mod probes;
pub mod questions;
pub mod shutdown;
pub mod suspects;
pub mod tls;
mod trail;
mod turn;
pub mod webhook;
mod write_backoff;

pub use deadline::Deadline;
pub use limits::Limits;
pub use listener::{bind, serve};
pub use probes::Health;
pub use shutdown::Shutdown;
pub use tls::ServingCertificate;
