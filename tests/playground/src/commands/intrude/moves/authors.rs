//! What authors of Agents and Tools do.

use fastrand::Rng;
use serde_json::{Value, json};

use super::{
    elements::{AGENTS, FINALIZER, Move, Place, Verb, agent, one, send, tool},
    specs::{agent_change, new_agent, new_tool, tool_change},
};
use crate::commands::intrude::cast::Member;

/// A thing to do to an Agent or a Tool.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Deed {
    Apply,
    Arm,
    Create,
    Delete,
    Finalize,
    Label,
    Own,
    Patch,
    Pause,
    Replace,
    Unfinalize,
}

/// What follows what how often.
fn deed(rng: &mut Rng, last: Option<Deed>) -> Deed {
    use Deed::{
        Apply, Arm, Create, Delete, Finalize, Label, Own, Patch, Pause, Replace, Unfinalize,
    };
    let weights: &[(Deed, u32)] = match last {
        None => &[
            (Create, 30),
            (Arm, 25),
            (Patch, 15),
            (Delete, 8),
            (Finalize, 8),
            (Apply, 5),
            (Replace, 4),
            (Pause, 4),
            (Label, 2),
            (Own, 1),
            (Unfinalize, 3),
        ],
        Some(Create) => &[
            (Arm, 40),
            (Patch, 20),
            (Delete, 15),
            (Finalize, 10),
            (Replace, 5),
        ],
        Some(Arm) => &[
            (Patch, 50),
            (Delete, 30),
            (Pause, 5),
            (Replace, 8),
            (Finalize, 4),
            (Apply, 3),
        ],
        Some(Delete) => &[
            (Patch, 45),
            (Create, 25),
            (Unfinalize, 10),
            (Replace, 10),
            (Arm, 10),
        ],
        Some(Finalize) => &[(Arm, 30), (Delete, 40), (Patch, 20), (Apply, 5)],
        Some(_) => &[
            (Arm, 30),
            (Patch, 25),
            (Delete, 15),
            (Create, 5),
            (Pause, 8),
            (Unfinalize, 5),
            (Replace, 5),
        ],
    };
    let total: u32 = weights
        .iter()
        .map(|(_, weight)| weight)
        .sum();
    let mut drawn = rng.u32(..total);
    for (deed, weight) in weights {
        if drawn < *weight {
            return *deed;
        }
        drawn -= weight;
    }
    Patch
}

pub(super) fn author(rng: &mut Rng, member: &Member) -> Vec<Move> {
    let mut moves = Vec::new();
    let mut last = None;
    let mut name = one(rng, &AGENTS);
    for _ in 0..rng.usize(1..=4) {
        if rng.u8(..8) == 0 {
            name = one(rng, &AGENTS);
        }
        let next = deed(rng, last);
        // A Tool has a pod while an armed Agent lists it.
        let is_tool = rng.u8(..5) == 0 && !matches!(next, Deed::Arm | Deed::Pause);
        moves.push(do_deed(
            rng,
            member,
            next,
            if is_tool { tool() } else { agent(name) },
        ));
        last = Some(next);
    }
    moves
}

fn do_deed(rng: &mut Rng, member: &Member, deed: Deed, place: Place) -> Move {
    let is_tool = place.resource == "tools";
    let new = |rng: &mut Rng| {
        if is_tool {
            new_tool(rng, member)
        } else {
            new_agent(rng, member, place.name)
        }
    };
    let change = |rng: &mut Rng| json!({"spec": if is_tool { tool_change(rng, member) } else { agent_change(rng, member) }});
    let merge = |body| send(Verb::MergePatch, place, body);
    match deed {
        Deed::Apply => {
            let mut body = new(rng);
            if let Some(metadata) = body
                .get_mut("metadata")
                .and_then(Value::as_object_mut)
            {
                metadata.remove("ownerReferences");
            }
            send(Verb::Apply, place, body)
        }
        Deed::Arm => merge(json!({"spec": {"paused": false}})),
        Deed::Create => send(Verb::Create, place, new(rng)),
        Deed::Delete => {
            let policy = one(rng, &["Background", "Background", "Foreground", "Orphan"]);
            send(Verb::Delete, place, json!({"propagationPolicy": policy}))
        }
        Deed::Finalize => merge(json!({"metadata": {"finalizers": [FINALIZER]}})),
        Deed::Label => merge(
            json!({"metadata": {"labels": {"agentkube.io/agentgroup": format!("g{}", rng.u8(..9))}}}),
        ),
        Deed::Own => merge(json!({"metadata": {"ownerReferences": [stranger(rng)]}})),
        Deed::Patch => merge(change(rng)),
        Deed::Pause => merge(json!({"spec": {"paused": true}})),
        Deed::Replace => Move::Replace(place, change(rng)),
        Deed::Unfinalize => merge(json!({"metadata": {"finalizers": null}})),
    }
}

/// An owner that is not there.
fn stranger(rng: &mut Rng) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "name": "gone",
        "uid": format!("00000000-0000-4000-8000-{:012x}", rng.u32(..)),
    })
}

pub(super) fn agents_status(rng: &mut Rng, member: &Member) -> Vec<Move> {
    let mut place = if rng.u8(..4) == 0 {
        tool()
    } else {
        agent(one(rng, &AGENTS))
    };
    place.subresource = "status";
    let spec = agent_change(rng, member);
    let status = json!({"phase": one(rng, &["Pending", "Running", "Failed"]), "observedGeneration": rng.u8(..9)});
    vec![send(
        Verb::MergePatch,
        place,
        json!({"spec": spec, "status": status}),
    )]
}
