//! The shortest part of a history that shows what went wrong.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{
    changes::{changes, visible, visible_pod},
    history::{History, Owner, State, steering},
    judge::{Finding, Wrong},
};

/// A request that has to do with a finding.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Step {
    /// Milliseconds since the first one.
    pub(super) at: i64,
    pub(super) user: String,
    /// What was asked for: `patch agents/a`.
    pub(super) request: String,
    /// What is different since.
    pub(super) changes: Vec<String>,
    pub(super) code: u64,
}

/// Keeps what made the pod what it is: the states that it was made from, what armed and deleted them, and the pod.
pub(super) fn shorten(history: &History, finding: &Finding) -> Vec<Step> {
    let mut kept = BTreeMap::new();
    let names = involved(history, finding);
    for owner in names
        .iter()
        .filter_map(|uid| history.owners.get(uid))
    {
        keep_owner(owner, finding, &mut kept);
    }
    let Some(pod) = history.pods.get(&finding.pod) else {
        return Vec::new();
    };
    let mut before = Value::Null;
    for state in pod
        .states
        .iter()
        .filter(|state| state.revision <= finding.revision)
    {
        let seen = visible_pod(&state.pod);
        let is_last = state.revision == finding.revision;
        if before.is_null() || is_last || (finding.wrong == Wrong::Registry && before != seen) {
            kept.insert(state.event, changes(&before, &seen));
        }
        before = seen;
    }
    let first = pod
        .states
        .first()
        .map_or(0, |state| state.event);
    let deployment = history
        .events
        .iter()
        .enumerate()
        .take(first)
        .rfind(|(_, event)| {
            event.resource == "deployments"
                && event.succeeded()
                && event.verb == "create"
                && pod
                    .name
                    .starts_with(&format!("{}-", event.name))
        });
    if let Some((index, event)) = deployment {
        let template = event
            .request
            .pointer("/spec/template")
            .unwrap_or(&Value::Null);
        kept.insert(index, changes(&Value::Null, &visible_pod(template)));
    }
    deletions(history, &names, finding, &mut kept);
    steps(history, kept)
}

/// The owners that the finding names, and those whose place they took.
fn involved(history: &History, finding: &Finding) -> BTreeSet<String> {
    finding
        .owners
        .iter()
        .filter(|uid| history.owners.contains_key(*uid))
        .cloned()
        .collect()
}

fn keep_owner(owner: &Owner, finding: &Finding, kept: &mut BTreeMap<usize, Vec<String>>) {
    let mut before: Option<&State> = None;
    let mut armed = None;
    for state in owner
        .states
        .iter()
        .filter(|state| state.revision < finding.revision)
    {
        let seen = visible(&state.object);
        let then = before.map_or(Value::Null, |before| visible(&before.object));
        let said = changes(&then, &seen);
        let is_deletion = state.is_deleting() && !before.is_some_and(State::is_deleting);
        let is_arming = !state.is_paused() && before.is_some_and(State::is_paused);
        if before.is_none()
            || is_deletion
            || finding
                .sources
                .contains(&state.revision)
        {
            kept.insert(state.event, said.clone());
        }
        // Who changed what steers last, where the state that was used only follows from theirs.
        let is_steering =
            before.is_some_and(|before| steering(before.spec()) != steering(state.spec()));
        if is_steering
            && finding
                .sources
                .iter()
                .any(|source| *source > state.revision && is_same_steering(owner, *source, state))
        {
            kept.insert(state.event, said.clone());
        }
        if is_arming {
            armed = Some((state.event, said));
        }
        before = Some(state);
    }
    if let Some((event, said)) = armed {
        kept.insert(event, said);
    }
}

fn is_same_steering(owner: &Owner, revision: u64, state: &State) -> bool {
    owner
        .states
        .iter()
        .any(|other| other.revision == revision && steering(other.spec()) == steering(state.spec()))
}

/// Where several objects of one name are involved, the deletions between them.
fn deletions(
    history: &History,
    owners: &BTreeSet<String>,
    finding: &Finding,
    kept: &mut BTreeMap<usize, Vec<String>>,
) {
    if owners.len() < 2 {
        return;
    }
    let end = kept
        .keys()
        .max()
        .copied()
        .unwrap_or_default();
    for owner in owners
        .iter()
        .filter_map(|uid| history.owners.get(uid))
    {
        for (index, event) in history
            .events
            .iter()
            .enumerate()
            .take(end)
        {
            let is_one = event.verb == "delete"
                && event.succeeded()
                && event.resource == owner.kind.resource()
                && event.name == owner.name;
            if is_one && finding.wrong == Wrong::Mixed {
                kept.entry(index).or_default();
            }
        }
    }
}

fn steps(history: &History, kept: BTreeMap<usize, Vec<String>>) -> Vec<Step> {
    let mut first: Option<Timestamp> = None;
    kept.into_iter()
        .filter_map(|(index, changes)| {
            let event = history.events.get(index)?;
            let first = *first.get_or_insert(event.at);
            let (resource, subresource) = event
                .resource
                .split_once('/')
                .unwrap_or((&event.resource, ""));
            let subresource = if subresource.is_empty() {
                String::new()
            } else {
                format!("/{subresource}")
            };
            Some(Step {
                at: event
                    .at
                    .duration_since(first)
                    .as_millis()
                    .try_into()
                    .unwrap_or(i64::MAX),
                user: event.user.clone(),
                request: format!("{} {resource}/{}{subresource}", event.verb, event.name),
                changes,
                code: event.code,
            })
        })
        .collect()
}
