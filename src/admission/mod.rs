//! A review in, a decision out. Pure: no clock, no network, no environment.
//!
//! `[ body ] -> [ Review ] -> + [ Owners ] + [ Policy ] -> [ Decision ] -> [ answer ]`
//!
//! A pod's decision depends on the Agent and the Tool that it is labelled with. [`Review::wants`]
//! says which those are; whoever calls looks them up, and hands them to [`decide`].

mod agents;
mod answer;
mod credential;
mod decide;
mod denial;
mod facts;
mod fields;
pub(crate) mod names;
mod patch;
mod placeholder;
mod pods;
mod policy;
mod reason;
mod registries;
mod review;
mod tools;

pub use answer::{answer, unavailable};
pub use credential::looks_like_credential;
pub use decide::{Decision, Outcome, Wanted, Wants, Webhook, decide};
pub use denial::{Cause, Denial, Subject};
pub use facts::{AgentFacts, Owners, ToolFacts};
pub use patch::Patch;
pub use placeholder::Placeholder;
pub use policy::{Enforcement, Policy};
pub use reason::Reason;
pub use registries::AllowedRegistries;
pub use review::{Creation, Review, Unreadable, UnreadableRequest};
