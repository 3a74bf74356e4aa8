//! The elements of moves: names, places, calls and images.

use fastrand::Rng;
use serde_json::Value;

use crate::commands::intrude::judge::REGISTRY;

/// The few names that everybody uses, so that they collide.
pub(super) const AGENTS: [&str; 2] = ["a", "b"];
pub(super) const TOOL: &str = "t";
pub(super) const DEPLOYMENT: &str = "d";
/// Pods: of Agents, of the Tool, and people's own.
pub(super) const PODS: [&str; 5] = ["a", "b", "tool-t", "p", "q"];
/// Keeps an object that is being deleted.
pub(super) const FINALIZER: &str = "example.com/keep";

/// A request, or one that is made from an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Move {
    /// Creates a pod that says that the Agent of this name controls it.
    Claim(&'static str, Value),
    /// Reads an object, merges this into it and sends it back.
    Replace(Place, Value),
    Send(Call),
}

/// Where an object is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    pub(crate) api: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) name: &'static str,
    pub(crate) subresource: &'static str,
}

/// A request as it is sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) verb: Verb,
    pub(crate) place: Place,
    pub(crate) body: Value,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verb {
    Apply,
    Create,
    Delete,
    JsonPatch,
    MergePatch,
    Strategic,
}

const AGENTKUBE: &str = "/apis/agentkube.io/v1alpha1";
const CORE: &str = "/api/v1";
const APPS: &str = "/apis/apps/v1";

pub(super) fn agent(name: &'static str) -> Place {
    Place {
        api: AGENTKUBE,
        resource: "agents",
        name,
        subresource: "",
    }
}

pub(super) fn tool() -> Place {
    Place {
        api: AGENTKUBE,
        resource: "tools",
        name: TOOL,
        subresource: "",
    }
}

pub(super) fn pod(name: &'static str) -> Place {
    Place {
        api: CORE,
        resource: "pods",
        name,
        subresource: "",
    }
}

pub(super) fn deployment() -> Place {
    Place {
        api: APPS,
        resource: "deployments",
        name: DEPLOYMENT,
        subresource: "",
    }
}

pub(super) fn send(verb: Verb, place: Place, body: Value) -> Move {
    Move::Send(Call { verb, place, body })
}

/// Sets a member of an object.
pub(super) fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

/// An image, most often one that may run.
pub(super) fn image(rng: &mut Rng) -> String {
    match rng.u8(..20) {
        0 => elsewhere(rng),
        _ => format!("{REGISTRY}/i{}:v1", rng.u8(..100)),
    }
}

/// An image that may not.
pub(super) fn elsewhere(rng: &mut Rng) -> String {
    one(
        rng,
        &[
            "quay.io/evil/x:v1",
            "registry.example.com.evil.org/x:v1",
            "evil/registry.example.com:v1",
        ],
    )
    .to_owned()
}

pub(super) fn one(rng: &mut Rng, choices: &[&'static str]) -> &'static str {
    rng.choice(choices)
        .copied()
        .unwrap_or_default()
}
