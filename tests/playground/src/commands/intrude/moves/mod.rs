//! What somebody does, chosen at random: most often what is dangerous, in quick succession.

mod authors;
mod elements;
mod pods;
mod specs;

pub(super) use elements::{Call, Move, Place, Verb};

use fastrand::Rng;

use self::{
    authors::{agents_status, author},
    elements::{AGENTS, agent, send, tool},
    pods::{debug, deployments, pods, pods_patch, pods_status},
    specs::{new_agent, new_tool},
};
use super::cast::{Member, Role};

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
