//! Turns a review into a decision. Pure: no clock, no network, no environment.
//!
//! `[ body ] -> [ Review ] -> + [ Owners ] + [ AuthorRights ] + [ Policy ] -> [ Decision ] -> [ answer ]`
//!
//! The decision on a pod depends on the Agent and the Tool that its labels name. [`Review::wants`]
//! names them; the caller looks them up and passes them to [`decide`]. The decision on an Agent or
//! Tool depends on the rights of its author to the objects it names, see [`Review::references`].

mod change;
mod creation;
pub(crate) mod credential;
mod decide;
mod denial;
mod facts;
pub(crate) mod names;
mod patch;
mod placeholder;
mod pods;
mod policy;
mod reason;
mod references;
mod registrations;
mod review;
mod specs;
mod target;
mod wire;

pub use creation::Creation;
pub use credential::{hide_credentials, looks_like_credential};
pub use decide::{
    Conflict, Decision, DecisionKind, Outcome, Wanted, Wants, decide, refuse_unreadable_owner,
};
pub use denial::{Cause, Denial, Subject};
pub use facts::{AgentFacts, ObjectState, Owners, ToolFacts};
pub use patch::Patch;
pub use placeholder::Placeholder;
pub use policy::registries::AllowedRegistries;
pub use policy::settings::{SETTINGS, Setting, SettingValue};
pub use policy::{Enforcement, Policy};
pub use reason::Reason;
pub use references::{
    AGENT_POLICY, AuthorRight, AuthorRights, Reference, ReferenceKind, TOOL_POLICY,
    reference_policies,
};
pub use registrations::admission_policy::AdmissionPolicy;
pub use registrations::ownership::{OWNERSHIP_POLICY, ownership_policy};
pub use registrations::webhook::{AdmissionPhase, Webhook};
pub use registrations::{Condition, REGISTRATION, registrations};
pub use review::{Author, Review, Unreadable, UnreadableRequest};
pub use wire::answer::{answer, unavailable};
pub use wire::bounded::{LONGEST_FIELD_BYTES, LONGEST_LIST_BYTES, MOST_ENTRIES};

/// All policies that the API server evaluates itself. The one for the ownership of pods comes
/// first.
#[must_use]
pub fn admission_policies() -> Vec<AdmissionPolicy> {
    [ownership_policy()]
        .into_iter()
        .chain(reference_policies())
        .collect()
}
