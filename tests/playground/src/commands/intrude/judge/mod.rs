//! Whether everything that a pod ever had was permitted.
//!
//! A pod that the manager created has to be explained by one state of its Agent or Tool, and whoever wrote that state
//! needs a right to all that the pod has. In a pod that somebody else created, that holds for what admission filled in.
//! And no image of a pod that was ever an Agent's is from elsewhere.

mod borrowed;
mod built;
mod fill;
mod registries;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use agentkube::images::ImageSettings;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{
    cast::Rights,
    history::{History, Kind, PodHistory, PodState, State},
    parts::items,
};

/// Where images may come from.
pub(super) const REGISTRY: &str = "registry.example.com";
/// Who creates the pods of Agents and Tools.
pub(super) const MANAGER: &str = "system:serviceaccount:agentkube-system:agentkube-manager";
const PLACEHOLDER: &str = "agentkube.invalid/";

/// What is wrong with a pod.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Wrong {
    /// It was made from an object that was being deleted.
    Deleting,
    /// Who wrote the state that it was made from had no right to what it has.
    Lent,
    /// No single state of its owner explains it.
    Mixed,
    /// It was made from an Agent that was paused.
    Paused,
    /// A placeholder was stored.
    Placeholder,
    /// An image is from elsewhere.
    Registry,
    /// Somebody chose an image for a pod with what they had no right to.
    Steered,
    /// Its owner is not known.
    Unknown,
}

/// Something that must not have happened.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) wrong: Wrong,
    /// The UID of the pod.
    pub(super) pod: String,
    /// Which of its states shows it.
    pub(super) revision: u64,
    pub(super) because: String,
    /// The UIDs of the owners that have to do with it.
    pub(super) owners: BTreeSet<String>,
    /// The states of owners that it was made from.
    pub(super) sources: BTreeSet<u64>,
}

/// A span of time in which admission was not asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

/// What a history is judged by.
pub(super) struct Judge<'j> {
    pub(super) rights: &'j Rights,
    pub(super) windows: &'j [Window],
    pub(super) settings: &'j ImageSettings,
    pub(super) namespace: &'j str,
}

impl Judge<'_> {
    /// Finds what is wrong, one thing of a kind for each pod.
    pub(super) fn judge(&self, history: &History) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (uid, pod) in &history.pods {
            let mut found = self.origin(history, pod);
            found.extend(self.registries(history, pod));
            let mut seen = BTreeSet::new();
            found.retain(|finding| seen.insert(finding.wrong));
            for mut finding in found {
                finding.pod.clone_from(uid);
                findings.push(finding);
            }
        }
        findings
    }

    /// Where what the pod has came from.
    fn origin(&self, history: &History, pod: &PodHistory) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut before: Option<&PodState> = None;
        let is_built = pod.states.first().is_some_and(|state| {
            history
                .events
                .get(state.event)
                .is_some_and(|event| event.user == MANAGER && event.verb == "create")
        });
        for state in &pod.states {
            let Some(event) = history.events.get(state.event) else {
                continue;
            };
            if event.verb == "create" && event.resource == "pods" {
                if is_built {
                    findings.extend(self.built(history, state, &BTreeSet::new()));
                } else {
                    findings.extend(self.borrowed(history, state, &event.request));
                }
            } else if let Some(before) = before
                && is_built
            {
                let written = built::written(&state.pod, &event.request);
                if built::filled_meanwhile(&before.pod, &state.pod, &written) {
                    findings.extend(self.built(history, state, &written));
                }
            }
            before = Some(state);
        }
        findings
    }

    /// What the writer of a state has no right to.
    fn lacking(&self, from: &State, gets: &BTreeSet<String>) -> Vec<String> {
        let lacking = |user: &String| -> Vec<String> {
            gets.iter()
                .filter(|reference| {
                    let name = reference
                        .split_once(' ')
                        .map_or("", |(_, name)| name);
                    !self.rights.allow(user, name)
                })
                .cloned()
                .collect()
        };
        if from
            .rivals
            .iter()
            .any(|rival| lacking(rival).is_empty())
        {
            return Vec::new();
        }
        lacking(&from.writer)
    }
}

fn finding(wrong: Wrong, state: &PodState, because: &str) -> Finding {
    Finding {
        wrong,
        pod: String::new(),
        revision: state.revision,
        because: because.to_owned(),
        owners: BTreeSet::new(),
        sources: BTreeSet::new(),
    }
}

/// The Agent or Tool that controls a pod, by its UID.
pub(super) fn controller(pod: &Value) -> Option<(Kind, String)> {
    items(pod, "/metadata/ownerReferences").find_map(|reference| {
        let is_ours = reference.get("controller") == Some(&Value::Bool(true))
            && reference
                .get("apiVersion")?
                .as_str()?
                .starts_with("agentkube.io/");
        let kind = Kind::parse(reference.get("kind")?.as_str()?)?;
        is_ours.then_some((
            kind,
            reference
                .get("uid")?
                .as_str()?
                .to_owned(),
        ))
    })
}
