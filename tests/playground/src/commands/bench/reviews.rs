//! What is sent: the pod of an Agent, and reviews of it.

use agentkube::{api::Agent, workload::agent_pod};
use anyhow::Context;
use serde_json::{Value, json};

use super::load::Ask;

/// The pod that the reconciler would create, as it is sent to the API server. Its agent container has a variable already,
/// as the rules in CEL need one to add another behind.
pub(super) fn pod(agent: &Agent) -> anyhow::Result<Value> {
    let mut pod = serde_json::to_value(agent_pod(agent))?;
    let metadata = pod
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
        .context("a pod has metadata")?;
    metadata.remove("namespace");
    let container = pod
        .pointer_mut("/spec/containers/0")
        .and_then(Value::as_object_mut)
        .context("a pod has a container")?;
    container.insert(
        "env".to_owned(),
        json!([{"name": "WORKSPACE", "value": "/workspace"}]),
    );
    Ok(pod)
}

/// Asks the mutating webhook about the creation of an Agent's pod.
pub(super) fn mutate(agent: &Agent, bytes: usize) -> anyhow::Result<Ask> {
    Ok(Ask::post("/mutate?timeout=5s", review(agent, bytes)?))
}

/// A review of the creation of an Agent's pod, about 3 KB, or of at least so many bytes: with more containers, as other
/// webhooks inject them.
fn review(agent: &Agent, bytes: usize) -> anyhow::Result<String> {
    let mut pod = pod(agent)?;
    let namespace = agent
        .metadata
        .namespace
        .clone()
        .context("an Agent has a namespace")?;
    let mut number = 0;
    loop {
        let review = around(&pod, &namespace).to_string();
        if review.len() >= bytes {
            return Ok(review);
        }
        number += 1;
        pod.pointer_mut("/spec/containers")
            .and_then(Value::as_array_mut)
            .context("a pod has containers")?
            .push(injected(number));
    }
}

fn around(pod: &Value, namespace: &str) -> Value {
    let kind = json!({"group": "", "version": "v1", "kind": "Pod"});
    let resource = json!({"group": "", "version": "v1", "resource": "pods"});
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "6b2f2a2e-0000-4000-8000-000000000003",
            "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
            "name": pod.pointer("/metadata/name"), "namespace": namespace, "operation": "CREATE",
            "userInfo": {
                "username": "system:serviceaccount:agentkube-system:agentkube-manager",
                "uid": "0e2bd2b4-0000-4000-8000-000000000004",
                "groups": ["system:serviceaccounts", "system:serviceaccounts:agentkube-system", "system:authenticated"],
            },
            "object": pod, "oldObject": null, "dryRun": false,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        },
    })
}

fn injected(number: usize) -> Value {
    let env: Vec<_> = (0..16)
        .map(|variable| json!({"name": format!("SIDECAR_SETTING_{variable}"), "value": "a value of some length"}))
        .collect();
    json!({
        "name": format!("injected-{number}"), "image": "registry.example.com/exo-mirror/mesh/proxy:v1", "env": env,
        "imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log",
        "volumeMounts": [{"name": "workspace", "mountPath": "/workspace"}],
    })
}
