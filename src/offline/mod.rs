//! The decisions of the webhooks and of the CRDs' schemas over manifests, without a cluster.
//!
//! ```text
//! [ text ] -> [ Document ] -> decode -> mutate -> schema and CEL -> validate -> [ Verdict ]
//! ```
//!
//! An Agent or a Tool goes all this way on the thread that has read it, and then it is forgotten;
//! only pods wait, packed, until all Agents and Tools are known.
//!
//! The order is the API server's own, the rules of the webhooks are the server's own code
//! ([`crate::admission`]), and the schemas are those of the CRDs that are installed
//! ([`crate::api::crds`]). Nothing here reads files, the environment or a clock.

mod cause;
mod document;
mod documents;
mod json;
mod judge;
mod junit;
mod metadata;
mod packed;
mod parallel;
mod path;
mod pods;
mod printable;
mod resource;
mod reviewer;
mod rules;
mod schema;
mod text;
mod verdict;

pub use cause::ReviewCause;
pub use document::{Document, DocumentProblem, LONGEST_DOCUMENT};
pub use documents::{DocumentFormat, parse};
pub use judge::PartialVerdict;
pub use junit::junit;
pub use packed::PackedObject;
pub use reviewer::Reviewer;
pub use text::text;
pub use verdict::{Decided, Verdict, VerdictDecision};
