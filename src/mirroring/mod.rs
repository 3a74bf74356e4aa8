//! What to copy where, so that a mirror holds every image that pods look for there.
//!
//! ```text
//! [ Row ] -> [ resolve ] -> [ Transfer { from, to } ] -> [ skopeo | regsync | oc-mirror | crane | hosts ]
//! ```
//!
//! Invariant: the destination of a default image is what [`resolve`](crate::images::resolve)
//! answers for pods, so that a plan and the pods cannot disagree. What a tool would do otherwise
//! than the plan says is a [`FormatError`], never a plan that is silently another one.
//!
//! Pure: no clock, no environment, no network.

mod error;
mod format;
mod plan;
mod scripts;

pub use error::FormatError;
pub use format::PlanFormat;
pub use plan::{Origin, Plan, PlanError, Transfer};
