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
