//! What stands between the API server's connection and a decision: listeners, TLS, certificates,
//! probes, metrics, drain.
//!
//! ```text
//! [ TCP ] -> [ slot ] -> [ TLS: ServingCertificate ] -> [ HTTP/1.1 ] -> [ Router ]
//!                              ^ Secret or directory          ^ `Connection: close` while draining
//! ```
//!
//! Nothing here knows what a review says. A replica lives through three phases, [`Shutdown`] tells
//! them to everyone: it serves, it drains (readiness is off, requests are still answered), it has
//! finished.

pub mod body;
pub mod deadline;
pub mod shutdown;

pub use deadline::Deadline;
pub use shutdown::Shutdown;
