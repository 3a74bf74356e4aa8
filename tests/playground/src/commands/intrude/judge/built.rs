use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Finding, Judge, PLACEHOLDER, Wrong, controller, finding};
use crate::commands::intrude::{
    history::{History, Kind, Owner, PodState, State},
    parts::{Filled, Parts, images, parts_of_pod, parts_of_spec, references},
};

impl Judge<'_> {
    /// A pod that the manager created, or that admission completed later. Whoever sent `written` with the request
    /// chose these images, so no state has to explain them.
    pub(super) fn built(
        &self,
        history: &History,
        state: &PodState,
        written: &BTreeSet<String>,
    ) -> Option<Finding> {
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
        let parts = without_images(parts_of_pod(kind, &state.pod), written);
        let before: Vec<_> = owner
            .states
            .iter()
            .filter(|from| from.revision < state.revision)
            .collect();
        let explaining: Vec<_> = before
            .iter()
            .copied()
            .filter(|from| self.explains(owner, from, &parts, written))
            .collect();
        let mut found = if explaining.is_empty() {
            self.mixed(history, owner, state, &parts, written)
        } else {
            self.sources(owner, state, &explaining, &references(&state.pod))?
        };
        found.owners.insert(uid);
        Some(found)
    }

    fn explains(
        &self,
        owner: &Owner,
        from: &State,
        parts: &Parts,
        written: &BTreeSet<String>,
    ) -> bool {
        Filled::ALL
            .into_iter()
            .any(|filled| self.parts(owner, from, filled, written) == *parts)
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
    fn mixed(
        &self,
        history: &History,
        owner: &Owner,
        state: &PodState,
        parts: &Parts,
        written: &BTreeSet<String>,
    ) -> Finding {
        let mut found = finding(Wrong::Mixed, state, "");
        let mut said = Vec::new();
        for (name, part) in parts {
            let own = self.states_with(owner, state, (name, part), written);
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
                        self.states_with(other, state, (name, part), written)
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
        (name, part): (&str, &Value),
        written: &BTreeSet<String>,
    ) -> Vec<&'o State> {
        let explains = |from: &&State| {
            from.revision < pod.revision
                && Filled::ALL.into_iter().any(|filled| {
                    self.parts(owner, from, filled, written)
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

    fn parts(
        &self,
        owner: &Owner,
        from: &State,
        filled: Filled,
        written: &BTreeSet<String>,
    ) -> Parts {
        let parts = parts_of_spec(
            owner.kind,
            &owner.name,
            self.namespace,
            from.spec(),
            filled,
            self.settings,
        );
        without_images(parts, written)
    }
}

fn without_images(mut parts: Parts, places: &BTreeSet<String>) -> Parts {
    if let Some(Value::Object(images)) = parts.get_mut("images") {
        images.retain(|place, _| !places.contains(place));
    }
    parts
}

/// The places of a pod whose image stands in the request itself.
pub(super) fn written(pod: &Value, request: &Value) -> BTreeSet<String> {
    let request = request.to_string();
    images(pod)
        .into_iter()
        .filter(|(_, image)| request.contains(image))
        .map(|(place, _)| place)
        .collect()
}

/// True if admission replaced a placeholder that was there. The images at `written` came with the request.
pub(super) fn filled_meanwhile(before: &Value, after: &Value, written: &BTreeSet<String>) -> bool {
    let then: BTreeMap<_, _> = images(before).into_iter().collect();
    images(after)
        .into_iter()
        .any(|(place, image)| {
            then.get(&place)
                .is_some_and(|then| then.starts_with(PLACEHOLDER))
                && !image.starts_with(PLACEHOLDER)
                && !written.contains(&place)
        })
}
