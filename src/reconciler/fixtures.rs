//! Objects that the tests here share.
#![expect(
    clippy::needless_pass_by_value,
    reason = "calls with `json!` in place read better"
)]

use serde_json::{Value, json};

use super::memory::observed::ObservedPod;

pub(super) use crate::workload::fixtures::{agent, policy, tool};

/// A pod in the leader's memory, owned by the object of [`agent`] or [`tool`].
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
