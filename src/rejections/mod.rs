//! The audit trail: denials become Rejections.
//!
//! ```text
//! [ Refusal ] -> fold -> [ Pending ] -> write -> [ Rejection ] -> retain, on the leader
//! ```
//!
//! Every replica records its own denials. [`Recorder::record`] is called on the request path: it
//! only folds denials in bounded memory, and never waits. [`Recorder::write`] writes pending
//! Rejections to the API server at its own pace; [`retain`] keeps their number within limits.
//!
//! Invariant: this module never delays an answer, and nothing that looks like a credential leaves
//! it.

mod bucket;
mod encoded;
mod identity;
mod metrics;
mod pending;
mod recorder;
mod redact;
mod refusal;
mod retention;
mod submitted;
mod weight;
mod write;

pub use metrics::{REJECTION_EVENTS, RejectionMetrics};
pub use recorder::{NEW_REJECTIONS, Recorder, WRITTEN_BYTES};
pub use redact::{redact, shown};
pub use refusal::{LONGEST_REJECTION, Refusal};
pub use retention::retain;

use std::time::Duration;

/// The limits of the audit trail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retention {
    /// The most Rejections of one namespace; beyond that the oldest ones are deleted.
    pub per_namespace: usize,
    /// The most Rejections of all namespaces together. Beyond that the oldest ones are deleted from
    /// the namespaces that have most. The last Rejection of a namespace stays.
    pub in_all: usize,
    /// The lifetime of a Rejection after its last denial.
    pub max_age: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            per_namespace: 200,
            in_all: 4096,
            max_age: Duration::from_secs(30 * 24 * 3600),
        }
    }
}
