use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Finding, Judge, PLACEHOLDER, Wrong, controller, finding};
use crate::commands::intrude::{
    history::{History, Kind, Owner, PodState, State},
    parts::{Filled, Parts, images, parts_of_pod, parts_of_spec, references},
};

impl Judge<'_> {
    /// A pod that the manager created, or that admission went on with.
    pub(super) fn built(&self, history: &History, state: &PodState) -> Option<Finding> {
        let Some((kind, uid)) = controller(&state.pod) else {
            return Some(finding(
                Wrong::Unknown,
                state,
                "the manager created it for nobody",
            ));
        };
        let Some(owner) = history.owners.get(&uid) else {
            return Some(finding(
                Wrong::Unknown,
                state,
                "nobody has written its owner",
            ));
        };
        let parts = parts_of_pod(kind, &state.pod);
        let before: Vec<_> = owner
            .states
            .iter()
            .filter(|from| from.revision < state.revision)
            .collect();
        let explaining: Vec<_> = before
            .iter()
            .copied()
            .filter(|from| self.explains(owner, from, &parts))
            .collect();
        let mut found = if explaining.is_empty() {
            self.mixed(history, owner, state, &parts)
        } else {
            self.sources(owner, state, &explaining, &references(&state.pod))?
        };
        found.owners.insert(uid);
        Some(found)
    }

    fn explains(&self, owner: &Owner, from: &State, parts: &Parts) -> bool {
        Filled::ALL
            .into_iter()
            .any(|filled| self.parts(owner, from, filled) == *parts)
    }

    /// Of states that explain a pod, whether one may have been used.
    fn sources(
        &self,
        owner: &Owner,
        state: &PodState,
        explaining: &[&State],
        used: &BTreeSet<String>,
    ) -> Option<Finding> {
        let with = |wrong, sources: &[&State], because: &str| {
            let mut found = finding(wrong, state, because);
            found.sources = sources
                .iter()
                .map(|from| from.revision)
                .collect();
            Some(found)
        };
        let what = format!("{} {:?}", owner.kind.word(), owner.name);
        let alive: Vec<_> = explaining
            .iter()
            .copied()
            .filter(|from| !from.is_deleting())
            .collect();
        if alive.is_empty() {
            return with(
                Wrong::Deleting,
                explaining,
                &format!("the {what} was being deleted in the only state that explains the pod"),
            );
        }
        let armed: Vec<_> = alive
            .iter()
            .copied()
            .filter(|from| !from.is_paused())
            .collect();
        if armed.is_empty() && owner.kind == Kind::Agent {
            return with(
                Wrong::Paused,
                &alive,
                &format!("the {what} was paused in the only state that explains the pod"),
            );
        }
        let armed = if owner.kind == Kind::Agent {
            armed
        } else {
            alive
        };
        let lacking = |from: &State| self.lacking(from, used);
        if armed
            .iter()
            .any(|from| lacking(from).is_empty())
        {
            return None;
        }
        let last = armed.last()?;
        let because = format!(
            "{} wrote generation {} of the {what}, and has no right to {}",
            last.writer,
            last.generation(),
            lacking(last).join(", ")
        );
        with(Wrong::Lent, &[last], &because)
    }

    /// Says which part is from which state.
    fn mixed(&self, history: &History, owner: &Owner, state: &PodState, parts: &Parts) -> Finding {
        let mut found = finding(Wrong::Mixed, state, "");
        let mut said = Vec::new();
        for (name, part) in parts {
            let own = self.states_with(owner, state, name, part);
            let earlier = owner
                .states
                .iter()
                .filter(|from| from.revision < state.revision);
            if own.len() == earlier.count() {
                continue;
            }
            if let Some(from) = own.last() {
                found.sources.insert(from.revision);
                let generations: BTreeSet<_> = own
                    .iter()
                    .map(|from| from.generation())
                    .collect();
                let generations: Vec<_> = generations
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                said.push(format!(
                    "{name} from generation {}",
                    generations.join(" or ")
                ));
                continue;
            }
            // An object of the same name, of which this one took the place, or which took its place.
            let others = history
                .owners
                .iter()
                .filter(|(_, other)| other.kind == owner.kind && other.name == owner.name);
            let other = others
                .filter_map(|(uid, other)| {
                    Some((
                        uid,
                        self.states_with(other, state, name, part)
                            .pop()?,
                    ))
                })
                .next_back();
            if let Some((uid, from)) = other {
                found.owners.insert(uid.clone());
                found.sources.insert(from.revision);
                said.push(format!("{name} from another object of that name"));
            } else {
                said.push(format!("{name} from no state: {part}"));
            }
        }
        found.because = format!(
            "no single state of the {} {:?} explains the pod: {}",
            owner.kind.word(),
            owner.name,
            said.join(", ")
        );
        found
    }

    /// The states before a pod that explain one part of it.
    fn states_with<'o>(
        &self,
        owner: &'o Owner,
        pod: &PodState,
        name: &str,
        part: &Value,
    ) -> Vec<&'o State> {
        let explains = |from: &&State| {
            from.revision < pod.revision
                && Filled::ALL.into_iter().any(|filled| {
                    self.parts(owner, from, filled)
                        .get(name)
                        == Some(part)
                })
        };
        owner
            .states
            .iter()
            .filter(explains)
            .collect()
    }

    fn parts(&self, owner: &Owner, from: &State, filled: Filled) -> Parts {
        parts_of_spec(
            owner.kind,
            &owner.name,
            self.namespace,
            from.spec(),
            filled,
            self.settings,
        )
    }
}

/// Whether a placeholder that was there is gone, and who sent the request had not written what came in its place.
pub(super) fn filled_meanwhile(before: &Value, after: &Value, request: &Value) -> bool {
    let request = request.to_string();
    let then: BTreeMap<_, _> = images(before).into_iter().collect();
    images(after)
        .into_iter()
        .any(|(place, image)| {
            then.get(&place)
                .is_some_and(|then| then.starts_with(PLACEHOLDER))
                && !image.starts_with(PLACEHOLDER)
                && !request.contains(image)
        })
}
