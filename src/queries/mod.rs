//! What is asked of a cluster, as data: lists page by page, Rejections by what is wanted of them, and how
//! many denials there were of what.
//!
//! ```text
//! [ API server ] -> Pages -> [ Rejection ] -> RejectionFilter -> RejectionSummary
//! ```
//!
//! Whoever asks shows the answers: a command as tables, a page as it likes. Nothing here writes to a
//! terminal.

mod pages;
mod rejections;
mod summary;

pub(crate) use pages::{PAGE, Pages, list};
pub(crate) use rejections::{FoundRejections, RejectionFilter, rejections};
pub(crate) use summary::{Denials, RejectionSummary};
