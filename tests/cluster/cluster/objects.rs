use anyhow::{Context, ensure};
use kube::core::Status;
use serde_json::{Value, json};

/// An Agent.
pub(crate) fn agent(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "agentkube.io/v1alpha1", "kind": "Agent", "metadata": {"name": name}, "spec": spec})
}

/// A Tool.
pub(crate) fn tool(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "agentkube.io/v1alpha1", "kind": "Tool", "metadata": {"name": name}, "spec": spec})
}

/// A pod.
pub(crate) fn pod(name: &str, labels: &Value, spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec})
}

/// A pod that an Agent or a Tool controls, as it is in the cluster.
pub(crate) fn pod_of(owner: &Value, name: &str, spec: &Value) -> Value {
    let metadata = &owner["metadata"];
    let word = if owner["kind"] == "Tool" {
        "tool"
    } else {
        "agent"
    };
    let labels = json!({format!("agentkube.io/{word}"): metadata["name"]});
    let mut pod = pod(name, &labels, spec);
    let generation = metadata["generation"].to_string();
    pod["metadata"]["annotations"] = json!({format!("agentkube.io/{word}-generation"): generation});
    pod["metadata"]["ownerReferences"] = json!([{
        "apiVersion": owner["apiVersion"], "kind": owner["kind"],
        "name": metadata["name"], "uid": metadata["uid"], "controller": true,
    }]);
    pod
}

/// A condition of an Agent or a Tool; null if it has none of that type.
pub(crate) fn condition<'a>(object: &'a Value, type_: &str) -> &'a Value {
    object["status"]["conditions"]
        .as_array()
        .and_then(|conditions| {
            conditions
                .iter()
                .find(|condition| condition["type"] == type_)
        })
        .unwrap_or(&Value::Null)
}

/// The containers of every list of a pod, and its image volumes, as `(name, image, pull policy)`.
pub(crate) fn images(pod: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| {
        value
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let list = |name: &str| {
        pod["spec"][name]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    let containers = ["containers", "initContainers", "ephemeralContainers"]
        .into_iter()
        .flat_map(list)
        .map(|c| {
            (
                text(&c["name"]),
                text(&c["image"]),
                text(&c["imagePullPolicy"]),
            )
        });
    let volumes = list("volumes")
        .into_iter()
        .filter(|volume| volume["image"].is_object())
        .map(|v| {
            (
                text(&v["name"]),
                text(&v["image"]["reference"]),
                text(&v["image"]["pullPolicy"]),
            )
        });
    containers.chain(volumes).collect()
}

/// Demands that a refusal is the one that is expected, in all that a client can see of it.
pub(crate) fn expect_refusal(status: &Status, reason: &str, field: &str) -> anyhow::Result<()> {
    expect(status, (422, "Invalid"), reason, field)
}

/// Demands the same of a refusal of what is not allowed here.
pub(crate) fn expect_forbidden(status: &Status, reason: &str, field: &str) -> anyhow::Result<()> {
    expect(status, (403, "Forbidden"), reason, field)
}

fn expect(
    status: &Status,
    (code, word): (u16, &str),
    reason: &str,
    field: &str,
) -> anyhow::Result<()> {
    ensure!(
        status.code == code,
        "code {}: {}",
        status.code,
        status.message
    );
    ensure!(
        status.reason == word,
        "reason {}: {}",
        status.reason,
        status.message
    );
    let details = status
        .details
        .as_ref()
        .context("a refusal has details")?;
    let cause = details
        .causes
        .first()
        .with_context(|| format!("no cause: {}", status.message))?;
    ensure!(
        cause.reason == reason,
        "cause {} and not {reason}: {}",
        cause.reason,
        status.message
    );
    ensure!(
        cause.field == field,
        "field {} and not {field}: {}",
        cause.field,
        status.message
    );
    ensure!(
        status.message.contains(&cause.message),
        "the message lacks the cause: {}",
        status.message
    );
    Ok(())
}
