//! Queries to a cluster that return data: paged lists, filtered Rejections, and counts of denials.
//!
//! ```text
//! [ API server ] -> Pages -> [ Rejection ] -> RejectionFilter -> RejectionSummary
//! ```
//!
//! The caller presents the results. Nothing here writes to a terminal.

mod pages;
mod rejections;
mod summary;

pub(crate) use pages::{PAGE, Pages, list};
pub(crate) use rejections::{FoundRejections, RejectionFilter, rejections};
pub(crate) use summary::{Denials, RejectionSummary};
