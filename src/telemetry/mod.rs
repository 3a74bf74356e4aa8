//! The metrics of a process: a table of them, and handles that count.
//!
//! `[ METRICS ] -> [ Metrics ] -> [ /metrics ]`
//!
//! Code that counts holds a handle. A handle made by `default()` is not registered, for tests.
//!
//! Invariant: labels only come from closed sets of static words, never from an object's name or an
//! image, or the number of series would grow with the cluster.

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
