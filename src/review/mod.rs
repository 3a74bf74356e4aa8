//! The decisions of the webhooks and of the CRDs' schemas over manifests, without a cluster.
//!
//! ```text
//! [ text ] -> [ Document ] -> decode -> mutate -> schema and CEL -> validate -> [ Verdict ]
//! ```
//!
//! The order is the API server's own, the rules of the webhooks are the server's own code
//! ([`crate::admission`]), and the schemas are those of the CRDs that are installed
//! ([`crate::api::crds`]). Nothing here reads files, the environment or a clock.

mod cause;
mod documents;
mod judge;
mod junit;
mod metadata;
mod parallel;
mod path;
mod pods;
mod rules;
mod schema;
mod text;
mod verdict;

pub use cause::Cause;
pub use documents::{Document, Format, LONGEST_DOCUMENT, Problem, parse};
pub use judge::review;
pub use junit::junit;
pub use text::text;
pub use verdict::{Decided, Decision, Verdict};
