//! Objects that the tests here and in the reconciler share.
#![expect(
    clippy::needless_pass_by_value,
    reason = "calls with `json!` in place read better"
)]

use serde_json::{Value, json};

use crate::{
    admission::Policy,
    api::{Agent, Tool},
};

pub(crate) fn agent(spec: Value) -> Agent {
    object("Agent", "bot", spec)
}

pub(crate) fn tool(spec: Value) -> Tool {
    object("Tool", "browser", spec)
}

pub(crate) fn policy(variables: &[(&'static str, &'static str)]) -> Policy {
    Policy::parse(variables.iter().copied()).unwrap()
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
