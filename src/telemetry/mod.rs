//! The metrics of a process: one table of them, and the handles that count.
//!
//! `[ METRICS ] -> [ Metrics ] -> [ /metrics ]`
//!
//! Whoever counts holds a handle, and no handle knows who asks. A handle that was made by its
//! `default()` is registered nowhere, for tests.
//!
//! Invariant: labels come from closed sets of static words only: never from an object's name or from
//! an image, or the number of series would grow with the cluster.

mod connections;
mod handles;
mod metrics;
mod problems;
mod table;

pub use connections::{ConnectionMetrics, GaugeGuard};
pub use handles::{ImageDecisionLabels, ReviewLabels};
pub use metrics::{CertificateExpiry, Metrics};
pub use problems::{CheckKind, Problem};
pub use table::{Label, METRICS, Metric, MetricKind};
