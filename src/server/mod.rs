//! The HTTP server around the decisions: listeners, TLS, certificates, probes, metrics, drain.
//!
//! ```text
//! [ TCP ] -> [ slot ] -> [ TLS: ServingCertificate ] -> [ HTTP/1.1 ] -> [ Router ]
//!                              ^ Secret or directory          ^ `Connection: close` while draining
//! ```
//!
//! Only [`webhook`] reads reviews. A replica has three phases, which [`Shutdown`] announces: it serves,
//! it drains (readiness is off, requests are still answered), it has finished.

pub mod body;
pub mod callers;
pub mod certificates;
pub mod connections;
pub mod deadline;
pub mod limits;
pub mod match_condition;
pub mod probes;
pub mod shutdown;
pub mod tls;
pub mod webhook;
mod write_backoff;

pub use connections::listener::{bind, serve};
pub use deadline::Deadline;
pub use limits::Limits;
pub use probes::Health;
pub use shutdown::Shutdown;
pub use tls::ServingCertificate;
