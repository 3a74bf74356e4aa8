//! From a denial to its record.
//!
//! ```text
//! [ Refusal ] -> fold -> [ Pending ] -> write -> [ Rejection ] -> retain, on the leader
//! ```
//!
//! Every replica records what it refuses. [`Recorder::record`] is called on the request path: it
//! only folds into memory, is bounded, and never waits. [`Recorder::write`] brings what is pending to
//! the API server, at its own pace; [`retain`] keeps what is there within its limits.
//!
//! Invariant: nothing here makes an answer late, and nothing that looks like a credential leaves
//! this module.

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

/// How much of the audit trail is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retention {
    /// The most Rejections of one namespace; beyond that the oldest go.
    pub per_namespace: usize,
    /// The most Rejections of all namespaces together; beyond that the oldest go of the namespaces
    /// that have most. The last one of a namespace stays.
    pub in_all: usize,
    /// How long after it was last seen a Rejection goes.
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
