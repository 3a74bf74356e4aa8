//! What somebody does, chosen at random: most often what is dangerous, in quick succession.

mod authors;
mod pods;
mod specs;

use fastrand::Rng;
use serde_json::Value;

use self::{
    authors::{agents_status, author},
    pods::{debug, deployments, pods, pods_patch, pods_status},
    specs::{new_agent, new_tool},
};
use super::{
    cast::{Member, Role},
    judge::REGISTRY,
};

/// The few names that everybody uses, so that they collide.
const AGENTS: [&str; 2] = ["a", "b"];
const TOOL: &str = "t";
const DEPLOYMENT: &str = "d";
/// Pods: of Agents, of the Tool, and people's own.
const PODS: [&str; 5] = ["a", "b", "tool-t", "p", "q"];
/// Keeps an object that is being deleted.
const FINALIZER: &str = "example.com/keep";

/// A request, or one that is made from an answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Move {
    /// Creates a pod that says that the Agent of this name controls it.
    Claim(&'static str, Value),
    /// Reads an object, merges this into it and sends it back.
    Replace(Place, Value),
    Send(Call),
}

/// Where an object is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) api: &'static str,
    pub(super) resource: &'static str,
    pub(super) name: &'static str,
    pub(super) subresource: &'static str,
}

/// A request as it is sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) verb: Verb,
    pub(super) place: Place,
    pub(super) body: Value,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verb {
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

fn agent(name: &'static str) -> Place {
    Place {
        api: AGENTKUBE,
        resource: "agents",
        name,
        subresource: "",
    }
}

fn tool() -> Place {
    Place {
        api: AGENTKUBE,
        resource: "tools",
        name: TOOL,
        subresource: "",
    }
}

fn pod(name: &'static str) -> Place {
    Place {
        api: CORE,
        resource: "pods",
        name,
        subresource: "",
    }
}

fn deployment() -> Place {
    Place {
        api: APPS,
        resource: "deployments",
        name: DEPLOYMENT,
        subresource: "",
    }
}

fn send(verb: Verb, place: Place, body: Value) -> Move {
    Move::Send(Call { verb, place, body })
}

/// What somebody does next, without a pause in between.
pub(super) fn burst(rng: &mut Rng, member: &Member) -> Vec<Move> {
    let mut choices: Vec<fn(&mut Rng, &Member) -> Vec<Move>> = Vec::new();
    let is_author = [Role::Admin, Role::Agents, Role::AgentsAndOwn]
        .iter()
        .any(|role| member.is(*role));
    if is_author {
        choices.extend([author as fn(&mut Rng, &Member) -> Vec<Move>; 4]);
    }
    for role in [
        Role::Admin,
        Role::AgentsStatus,
        Role::Debug,
        Role::Deployments,
        Role::Pods,
        Role::PodsPatch,
        Role::PodsStatus,
    ] {
        if member.is(role) {
            choices.push(match role {
                Role::AgentsStatus => agents_status,
                Role::Debug => debug,
                Role::Admin | Role::Deployments => deployments,
                Role::Pods => pods,
                Role::PodsPatch => pods_patch,
                _ => pods_status,
            });
        }
    }
    if choices.is_empty() {
        return Vec::new();
    }
    let choice = rng.usize(..choices.len());
    choices
        .get(choice)
        .map(|choice| choice(rng, member))
        .unwrap_or_default()
}

/// What an admin has done before the others come.
pub(super) fn opening(rng: &mut Rng, admin: &Member) -> Vec<Move> {
    let mut moves = vec![send(Verb::Create, tool(), new_tool(rng, admin))];
    for name in AGENTS {
        if rng.bool() {
            moves.push(send(Verb::Create, agent(name), new_agent(rng, admin, name)));
        }
    }
    if rng.u8(..3) == 0 {
        moves.extend(deployments(rng, admin));
    }
    moves
}

/// Sets a member of an object.
fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

/// An image, most often one that may run.
fn image(rng: &mut Rng) -> String {
    match rng.u8(..20) {
        0 => elsewhere(rng),
        _ => format!("{REGISTRY}/i{}:v1", rng.u8(..100)),
    }
}

/// An image that may not.
fn elsewhere(rng: &mut Rng) -> String {
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

fn one(rng: &mut Rng, choices: &[&'static str]) -> &'static str {
    rng.choice(choices)
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_brings_the_same_moves() {
        let moves = |seed| {
            let mut rng = Rng::with_seed(seed);
            let member = Member {
                user: String::new(),
                roles: Role::ALL.to_vec(),
            };
            (0..100)
                .flat_map(|_| burst(&mut rng, &member))
                .collect::<Vec<_>>()
        };
        assert_eq!(moves(1), moves(1));
        assert_ne!(moves(1), moves(2));
    }

    #[test]
    fn every_role_has_something_to_do() {
        for role in Role::ALL {
            let member = Member {
                user: String::new(),
                roles: vec![role],
            };
            assert!(
                !burst(&mut Rng::with_seed(1), &member).is_empty(),
                "{role:?}"
            );
        }
    }
}
