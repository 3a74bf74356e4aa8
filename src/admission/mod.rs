//! A review in, a decision out. Pure: no clock, no network, no environment.
//!
//! `[ body ] -> [ Review ] -> + [ Owners ] + [ AuthorRights ] + [ Policy ] -> [ Decision ] -> [ answer ]`
//!
//! A pod's decision depends on the Agent and the Tool that it is labelled with. [`Review::wants`]
//! says which those are; whoever calls looks them up, and hands them to [`decide`]. That of an Agent
//! or Tool depends on whether its author may use what it names, see [`Review::references`].

mod admission_policy;
mod agents;
mod answer;
mod bounded;
mod change;
mod creation;
pub(crate) mod credential;
mod decide;
mod denial;
mod facts;
mod fields;
pub(crate) mod names;
mod ownership;
mod patch;
mod placeholder;
mod pods;
mod policy;
mod reason;
mod references;
mod registrations;
mod registries;
mod request;
mod review;
mod settings;
mod spec;
mod suspects;
mod target;
mod text;
mod tools;
mod variables;
mod webhook;

pub use admission_policy::AdmissionPolicy;
pub use answer::{answer, unavailable};
pub use bounded::{LONGEST_FIELD_BYTES, LONGEST_LIST_BYTES, MOST_ENTRIES};
pub use creation::Creation;
pub use credential::{hide_credentials, looks_like_credential};
pub use decide::{
    Conflict, Decision, DecisionKind, Outcome, Wanted, Wants, decide, refuse_unreadable_owner,
};
pub use denial::{Cause, Denial, Subject};
pub use facts::{AgentFacts, ObjectState, Owners, ToolFacts};
pub use ownership::{OWNERSHIP_POLICY, ownership_policy};
pub use patch::Patch;
pub use placeholder::Placeholder;
pub use policy::{Enforcement, Policy};
pub use reason::Reason;
pub use references::{
    AGENT_POLICY, AuthorRight, AuthorRights, Reference, ReferenceKind, TOOL_POLICY,
    reference_policies,
};
pub use registrations::{Condition, REGISTRATION, registrations};
pub use registries::AllowedRegistries;
pub use review::{Author, Review, Unreadable, UnreadableRequest};
pub use settings::{SETTINGS, Setting, SettingValue};
pub use webhook::{AdmissionPhase, Webhook};

/// Every policy that the API server follows by itself: that of the ownership of pods first.
#[must_use]
pub fn admission_policies() -> Vec<AdmissionPolicy> {
    [ownership_policy()]
        .into_iter()
        .chain(reference_policies())
        .collect()
}
