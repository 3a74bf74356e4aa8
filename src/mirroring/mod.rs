//! Plans the copies that fill a mirror with every image that pods pull from it.
//!
//! ```text
//! [ Row ] -> [ resolve ] -> [ Transfer { from, to } ] -> [ skopeo | regsync | oc-mirror | crane | hosts ]
//! ```
//!
//! Invariant: the destination of a default image is what [`resolve`](crate::images::resolve) answers for
//! pods, so a plan and the pods cannot disagree. If a tool would deviate from the plan, the result is a
//! [`FormatError`] and never a different plan.
//!
//! Pure: no clock, no environment, no network.

mod error;
mod format;
mod plan;
mod scripts;

pub use error::FormatError;
pub use format::PlanFormat;
pub use plan::{Origin, Plan, PlanError, Transfer};
