//! Programs and files of the Go modules beside this package, built or downloaded once.
//!
//! ```text
//! Module (go.mod, go.sum) -> cache (found there, or locked) -> compile -> programs
//! ```

mod cache;
mod compile;
mod definitions;
mod helm;
mod module;
mod tools;

pub use definitions::{monitoring_crds, report_crd};
pub use helm::locate_helm;

pub(crate) use cache::{Work, cache_of, lock};
pub(crate) use compile::compile;
pub(crate) use module::{Module, folder, why_no_go};
#[cfg(test)]
pub(crate) use tools::expect_tools;
pub(crate) use tools::locate;
