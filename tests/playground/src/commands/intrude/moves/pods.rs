//! What is done to pods, and by way of Deployments.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::elements::{
    AGENTS, DEPLOYMENT, FINALIZER, Move, PODS, Verb, deployment, elsewhere, image, one, pod, send,
    set,
};
use crate::commands::intrude::cast::{Member, OWN, Role, VICTIM};

pub(super) fn debug(rng: &mut Rng, _: &Member) -> Vec<Move> {
    let mut place = pod(one(rng, &PODS));
    place.subresource = "ephemeralcontainers";
    let image = match rng.u8(..4) {
        0 => elsewhere(rng),
        1 => "agentkube.invalid/agent".to_owned(),
        2 => "agentkube.invalid/codex".to_owned(),
        _ => image(rng),
    };
    let container = json!({"name": format!("debug-{}", rng.u32(..)), "image": image});
    vec![send(
        Verb::Strategic,
        place,
        json!({"spec": {"ephemeralContainers": [container]}}),
    )]
}

/// A pod, or the template of one, that says that it is an Agent's.
fn claiming(rng: &mut Rng) -> Value {
    let image = match rng.u8(..7) {
        0 => elsewhere(rng),
        1 | 2 => image(rng),
        3 => "agentkube.invalid/codex".to_owned(),
        _ => "agentkube.invalid/agent".to_owned(),
    };
    let mut labels = Map::new();
    if rng.u8(..5) > 0 {
        labels.insert("agentkube.io/agent".to_owned(), json!(one(rng, &AGENTS)));
    }
    labels.insert("app".to_owned(), json!("d"));
    let mut container = json!({"name": "agent", "image": image});
    if rng.u8(..3) == 0 {
        let source = json!({"secretKeyRef": {"name": VICTIM, "key": "key"}});
        set(
            &mut container,
            "env",
            json!([{"name": "SECRET", "valueFrom": source}]),
        );
    }
    let mut spec = json!({"containers": [container]});
    if rng.bool() {
        set(
            &mut spec,
            "serviceAccountName",
            json!(one(rng, &[OWN, VICTIM])),
        );
    }
    json!({"metadata": {"labels": labels}, "spec": spec})
}

pub(super) fn deployments(rng: &mut Rng, _: &Member) -> Vec<Move> {
    let restart = json!({"spec": {"template": {"metadata": {"annotations": {"restarted": rng.u32(..).to_string()}}}}});
    match rng.u8(..6) {
        0..=2 => vec![send(
            Verb::Create,
            deployment(),
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": DEPLOYMENT},
                "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "d"}}, "template": claiming(rng)},
            }),
        )],
        3 | 4 => vec![send(Verb::MergePatch, deployment(), restart)],
        _ => vec![send(
            Verb::Delete,
            deployment(),
            json!({"propagationPolicy": "Background"}),
        )],
    }
}

pub(super) fn pods(rng: &mut Rng, member: &Member) -> Vec<Move> {
    let name = one(rng, &["p", "q", "a", "b"]);
    let mut body = claiming(rng);
    set(&mut body, "apiVersion", json!("v1"));
    set(&mut body, "kind", json!("Pod"));
    if let Some(metadata) = body.get_mut("metadata") {
        set(metadata, "name", json!(name));
    }
    match rng.u8(..6) {
        0 | 1 => vec![send(Verb::Create, pod(name), body)],
        2 => vec![Move::Claim(one(rng, &AGENTS), body)],
        3 => vec![send(
            Verb::Delete,
            pod(one(rng, &PODS)),
            json!({"gracePeriodSeconds": 0}),
        )],
        _ => pods_patch(rng, member),
    }
}

/// Changes to a pod: its image, and whose it says that it is.
pub(super) fn pods_patch(rng: &mut Rng, _: &Member) -> Vec<Move> {
    let name = one(rng, &PODS);
    let label = |name: &str| format!("/metadata/labels/agentkube.io~1{name}");
    let image = match rng.u8(..8) {
        0..=3 => elsewhere(rng),
        4 => "agentkube.invalid/agent".to_owned(),
        _ => image(rng),
    };
    let image = json!({"op": "replace", "path": "/spec/containers/0/image", "value": image});
    let kind = if name == "tool-t" { "tool" } else { "agent" };
    let mut steps = Vec::new();
    for _ in 0..rng.usize(1..=3) {
        steps.push(match rng.u8(..9) {
            0..=2 => json!({"op": "remove", "path": label(kind)}),
            3 => json!({"op": "add", "path": label(kind), "value": one(rng, &AGENTS)}),
            4 => json!({"op": "remove", "path": "/metadata/ownerReferences"}),
            5 => json!({"op": "add", "path": "/metadata/annotations/agentkube.io~1agent-generation", "value": rng.u8(1..9).to_string()}),
            6 => json!({"op": "add", "path": "/metadata/finalizers", "value": [FINALIZER]}),
            7 => json!({"op": "remove", "path": "/metadata/labels/app.kubernetes.io~1managed-by"}),
            _ => image.clone(),
        });
    }
    if rng.bool() {
        steps.push(image);
    }
    // One request, or one after the other.
    if rng.u8(..3) > 0 {
        return vec![send(Verb::JsonPatch, pod(name), json!(steps))];
    }
    steps
        .into_iter()
        .map(|step| send(Verb::JsonPatch, pod(name), json!([step])))
        .collect()
}

pub(super) fn pods_status(rng: &mut Rng, member: &Member) -> Vec<Move> {
    let name = one(rng, &PODS);
    let mut place = pod(name);
    place.subresource = "status";
    let labels = json!({"agentkube.io/agent": if rng.bool() { Value::Null } else { json!(one(rng, &AGENTS)) }});
    let body = match rng.u8(..3) {
        0 => json!({"metadata": {"labels": labels}}),
        1 => {
            json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "agent", "image": elsewhere(rng)}]}})
        }
        _ => json!({"status": {"phase": one(rng, &["Running", "Failed", "Succeeded"])}}),
    };
    let mut moves = vec![send(Verb::Strategic, place, body)];
    if member.is(Role::PodsPatch) {
        let change =
            json!({"op": "replace", "path": "/spec/containers/0/image", "value": elsewhere(rng)});
        moves.push(send(Verb::JsonPatch, pod(name), json!([change])));
    }
    moves
}
