//! Objects: read from files, applied, and reported on.
//!
//! ```text
//! Manifest -> apply -> Applied -> Report <- AgentReport
//! ```

mod agents;
mod applier;
mod apply;
pub(crate) mod manifests;
mod rejections;
mod report;

pub use agents::{AgentReport, ConditionReport, ImageReport, agents, settle};
pub use apply::{Applied, Rejected, Warning, apply};
pub use manifests::{Manifest, parse as parse_manifests, read_manifests};
pub use rejections::rejections;
pub use report::{Report, Seconds};

pub(crate) use applier::{Applier, FIELD_MANAGER};
