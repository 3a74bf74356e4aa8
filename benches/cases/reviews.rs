//! Reviews as an API server sends them.

use agentkube::{api::Agent, workload::agent_pod};
use serde_json::{Value, json};

/// An Agent with a token and a recorder, so that its pod has three images to find.
pub(super) fn agent() -> Agent {
    let agent = json!({
        "apiVersion": "agentkube.io/v1alpha1",
        "kind": "Agent",
        "metadata": {
            "name": "triage-bot",
            "namespace": "adaptive",
            "uid": "6b2f2a2e-0000-4000-8000-000000000001",
            "generation": 1,
            "labels": {"agentkube.io/agentgroup": "support-team"},
        },
        "spec": {
            "runtime": "ClaudeCode",
            "mode": "supervised",
            "goal": {"inline": "Triage incoming issues: fetch new ones hourly, label, assign."},
            "model": {"name": "claude-opus-4-7", "provider": "anthropic"},
            "agentToken": {"secretRef": {"name": "claude-code-token", "key": "token"}},
            "sessionRecording": {"enabled": true},
        },
    });
    serde_json::from_value(agent).expect("an Agent")
}

/// A review of the creation of an Agent.
pub(super) fn of_agent(agent: &Agent) -> Vec<u8> {
    let kind = json!({"group": "agentkube.io", "version": "v1alpha1", "kind": "Agent"});
    let resource = json!({"group": "agentkube.io", "version": "v1alpha1", "resource": "agents"});
    review(&kind, &resource, &json!(agent))
}

/// A review of the creation of an Agent's pod, as the reconciler makes it.
pub(super) fn of_pod(agent: &Agent) -> Vec<u8> {
    let kind = json!({"group": "", "version": "v1", "kind": "Pod"});
    let resource = json!({"group": "", "version": "v1", "resource": "pods"});
    review(&kind, &resource, &json!(agent_pod(agent)))
}

fn review(kind: &Value, resource: &Value, object: &Value) -> Vec<u8> {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "6b2f2a2e-0000-4000-8000-000000000002",
            "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
            "name": "triage-bot",
            "namespace": "adaptive",
            "operation": "CREATE",
            "userInfo": {"username": "ada", "groups": ["team", "system:authenticated"]},
            "object": object,
            "oldObject": null,
            "dryRun": false,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        },
    })
    .to_string()
    .into_bytes()
}
