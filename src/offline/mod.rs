//! The decisions of the webhooks and of the CRDs' schemas over manifests, without a cluster.
//!
//! ```text
//! [ text ] -> [ Document ] -> decode -> mutate -> schema and CEL -> validate -> [ Verdict ]
//! ```
//!
//! An Agent or a Tool is judged on the thread that has read it, and then dropped; only pods wait,
//! packed, until all Agents and Tools are known.
//!
//! The order is that of the API server, the rules of the webhooks are the server's own code
//! ([`crate::admission`]), and the schemas are those of the installed CRDs ([`crate::api::crds`]).
//! This module reads no files, no environment and no clock.

mod input;
mod judge;
mod metadata;
mod output;
mod packed;
mod parallel;
mod pods;
mod resource;
mod reviewer;
mod schema;

pub use input::document::{Document, DocumentProblem, LONGEST_DOCUMENT};
pub use input::documents::{DocumentFormat, parse};
pub use judge::PartialVerdict;
pub use output::cause::ReviewCause;
pub use output::junit::junit;
pub use output::text::text;
pub use output::verdict::{Decided, Verdict, VerdictDecision};
pub use packed::PackedObject;
pub use reviewer::Reviewer;
