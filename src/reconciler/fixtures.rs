//! Objects that the tests here share.
#![expect(
    clippy::needless_pass_by_value,
    reason = "calls with `json!` in place read better"
)]

use serde_json::{Value, json};

use super::observed::ObservedPod;
use crate::{
    admission::Policy,
    api::{Agent, Tool},
};

pub(super) fn agent(spec: Value) -> Agent {
    object("Agent", "bot", spec)
}

pub(super) fn tool(spec: Value) -> Tool {
    object("Tool", "browser", spec)
}

pub(super) fn policy(variables: &[(&'static str, &'static str)]) -> Policy {
    Policy::parse(variables.iter().copied()).unwrap()
}

/// A pod as it is observed, owned by the object of [`agent`] or [`tool`].
pub(super) fn observed(name: &str, annotations: Value, status: Value) -> ObservedPod {
    serde_json::from_value(json!({
        "metadata": {
            "name": name,
            "namespace": "adaptive",
            "annotations": annotations,
            "ownerReferences": [owner_reference("uid-1")],
        },
        "status": status,
    }))
    .unwrap()
}

pub(super) fn owner_reference(uid: &str) -> Value {
    json!({
        "apiVersion": "agentkube.io/v1alpha1",
        "kind": "Agent",
        "name": "bot",
        "uid": uid,
        "controller": true,
    })
}

fn object<K: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: Value) -> K {
    serde_json::from_value(json!({
        "apiVersion": "agentkube.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "adaptive", "uid": "uid-1", "generation": 3},
        "spec": spec,
    }))
    .unwrap()
}
