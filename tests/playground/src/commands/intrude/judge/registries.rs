use std::collections::BTreeSet;

use serde_json::Value;

use super::{Finding, Judge, PLACEHOLDER, REGISTRY, Wrong, controller, finding};
use crate::commands::intrude::{
    history::{History, Kind, PodHistory},
    parts::images,
};

impl Judge<'_> {
    /// Whether an image of an Agent's pod is from elsewhere.
    pub(super) fn registries(&self, history: &History, pod: &PodHistory) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut is_owned = false;
        // What came in while nobody was asked.
        let mut excused = BTreeSet::new();
        for state in &pod.states {
            let Some(event) = history.events.get(state.event) else {
                continue;
            };
            is_owned |= is_labelled(&state.pod) || controller(&state.pod).is_some();
            let is_away = self
                .windows
                .iter()
                .any(|window| window.from <= event.at && event.at <= window.to);
            for (place, image) in images(&state.pod) {
                let said = format!("{place} has {image}");
                if is_away {
                    excused.insert(said);
                    continue;
                }
                let wrong = if image.starts_with(PLACEHOLDER) {
                    Some(Wrong::Placeholder)
                } else if image.starts_with(&format!("{REGISTRY}/")) {
                    None
                } else {
                    Some(Wrong::Registry)
                };
                if is_owned && !excused.contains(&said) {
                    findings.extend(wrong.map(|wrong| finding(wrong, state, &said)));
                }
            }
        }
        findings
    }
}

/// Whether a pod says that it is an Agent's or a Tool's.
fn is_labelled(pod: &Value) -> bool {
    [Kind::Agent, Kind::Tool]
        .into_iter()
        .any(|kind| {
            pod.pointer("/metadata/labels")
                .is_some_and(|labels| labels.get(kind.label()).is_some())
        })
}
