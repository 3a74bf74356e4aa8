//! Agents and Tools, and what they are changed to.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::elements::{FINALIZER, TOOL, image, one, set};
use crate::commands::intrude::cast::{Member, OWN, Role, VICTIM};

pub(super) fn new_agent(rng: &mut Rng, member: &Member, name: &str) -> Value {
    let mut spec = agent_fields(rng, member, true);
    spec.insert(
        "runtime".to_owned(),
        json!(one(rng, &["Codex", "ClaudeCode"])),
    );
    spec.insert("paused".to_owned(), json!(rng.u8(..3) > 0));
    spec.retain(|_, value| !value.is_null());
    let mut metadata = json!({"name": name});
    if rng.u8(..4) == 0 {
        set(&mut metadata, "finalizers", json!([FINALIZER]));
    }
    json!({"apiVersion": "agentkube.io/v1alpha1", "kind": "Agent", "metadata": metadata, "spec": spec})
}

/// What an Agent's spec is changed to. Null takes a field off.
pub(super) fn agent_change(rng: &mut Rng, member: &Member) -> Value {
    let mut spec = agent_fields(rng, member, false);
    match rng.u8(..10) {
        // Another image, and nothing that a right would be asked for.
        0..=3 => {
            spec.clear();
            spec.insert("image".to_owned(), json!(image(rng)));
            for field in [
                "agentToken",
                "goal",
                "imagePullSecrets",
                "serviceAccountName",
            ] {
                spec.insert(field.to_owned(), Value::Null);
            }
        }
        // The other half of it.
        4..=6 => {
            spec.clear();
            let field = one(
                rng,
                &[
                    "agentToken",
                    "goal",
                    "imagePullSecrets",
                    "serviceAccountName",
                ],
            );
            spec.insert(field.to_owned(), reference(field, name(rng, member)));
        }
        _ => {}
    }
    if rng.u8(..8) == 0 {
        spec.insert("paused".to_owned(), json!(rng.bool()));
    }
    Value::Object(spec)
}

/// Some fields of an Agent's spec.
fn agent_fields(rng: &mut Rng, member: &Member, many: bool) -> Map<String, Value> {
    let mut spec = Map::new();
    let fields = [
        "agentToken",
        "goal",
        "image",
        "imagePullSecrets",
        "mode",
        "model",
        "nodeSelector",
        "resources",
        "serviceAccountName",
        "sessionRecording",
        "tolerations",
        "tools",
    ];
    let chance = if many { 3 } else { 5 };
    for field in fields {
        if rng.u8(..chance) > 0
            && !(many
                && ["agentToken", "image", "serviceAccountName", "tools"].contains(&field)
                && rng.bool())
        {
            continue;
        }
        let value = match field {
            "image" if rng.u8(..4) == 0 => Value::Null,
            "image" => json!(image(rng)),
            "mode" => json!(one(rng, &["supervised", "system"])),
            "model" => json!({"name": format!("m{}", rng.u8(..9))}),
            // No node has it, so that the pod waits; it is stored all the same.
            "nodeSelector" => json!({"type": one(rng, &["kwok", "other"])}),
            "resources" => json!({"requests": {"cpu": format!("{}m", rng.u8(1..9))}}),
            "sessionRecording" => json!({"enabled": rng.bool()}),
            "tolerations" => json!([{"key": format!("k{}", rng.u8(..9)), "operator": "Exists"}]),
            "tools" if rng.u8(..4) > 0 => json!([{"name": TOOL}]),
            "tools" => json!([]),
            "goal" if rng.bool() => {
                json!({"inline": format!("goal {}", rng.u8(..9)), "configMapKeyRef": null})
            }
            _ if rng.u8(..4) == 0 => Value::Null,
            _ => reference(field, name(rng, member)),
        };
        spec.insert(field.to_owned(), value);
    }
    if many
        && let Some(goal) = spec
            .get_mut("goal")
            .and_then(Value::as_object_mut)
    {
        goal.retain(|_, value| !value.is_null());
    }
    spec
}

/// A field that refers to an object of this name.
fn reference(field: &str, name: &str) -> Value {
    match field {
        "agentToken" => json!({"secretRef": {"name": name, "key": "key"}}),
        "goal" => json!({"configMapKeyRef": {"name": name, "key": "key"}, "inline": null}),
        "imagePullSecrets" => json!([{"name": name}]),
        _ => json!(name),
    }
}

/// A name that somebody writes: mostly one that they may use, if they may use any.
fn name(rng: &mut Rng, member: &Member) -> &'static str {
    let may_all = member.is(Role::Admin) || member.is(Role::Pods);
    let may_own = member.is(Role::AgentsAndOwn);
    if (may_own && rng.u8(..3) > 0) || (may_all && rng.u8(..4) == 0) {
        OWN
    } else {
        VICTIM
    }
}

pub(super) fn new_tool(rng: &mut Rng, member: &Member) -> Value {
    let mut spec = json!({"type": "custom", "image": image(rng)});
    if rng.u8(..3) > 0 {
        let secret = json!({"name": name(rng, member), "key": "key"});
        set(&mut spec, "config", json!({"credentialsRef": secret}));
    }
    let mut metadata = json!({"name": TOOL});
    if rng.u8(..4) == 0 {
        set(&mut metadata, "finalizers", json!([FINALIZER]));
    }
    json!({"apiVersion": "agentkube.io/v1alpha1", "kind": "Tool", "metadata": metadata, "spec": spec})
}

pub(super) fn tool_change(rng: &mut Rng, member: &Member) -> Value {
    match rng.u8(..5) {
        0 | 1 => json!({"image": image(rng), "config": null}),
        2 => json!({"config": {"credentialsRef": {"name": name(rng, member), "key": "key"}}}),
        3 => json!({"config": {"hostname": format!("h{}", rng.u8(..9))}, "image": image(rng)}),
        _ => json!({"probe": {"tcpSocket": {"port": rng.u16(1..999)}}}),
    }
}
