use serde_json::Value;

use super::{Finding, Judge, Wrong, controller, fill::Fill, finding};
use crate::commands::intrude::{
    history::{History, Kind, Owner, PodState, State},
    parts::references,
};

impl Judge<'_> {
    /// A pod that somebody else created, in which admission replaced a placeholder.
    pub(super) fn borrowed(
        &self,
        history: &History,
        state: &PodState,
        request: &Value,
    ) -> Option<Finding> {
        [Kind::Agent, Kind::Tool]
            .into_iter()
            .find_map(|kind| self.borrowed_from(kind, history, state, request))
    }

    fn borrowed_from(
        &self,
        kind: Kind,
        history: &History,
        state: &PodState,
        request: &Value,
    ) -> Option<Finding> {
        let fill = Fill::find(kind, &state.pod, request)?;
        let name = state
            .pod
            .pointer("/metadata/labels")?
            .get(kind.label())?
            .as_str()?;
        let controller = controller(&state.pod).map(|(_, uid)| uid);
        let finding_of = |owner: &Owner, uid: &String, explaining: &[&State]| {
            let mut found =
                self.sources_of_fill(owner, state, explaining, &fill, controller.is_some())?;
            found.owners.insert(uid.clone());
            Some(found)
        };
        let mut any = None;
        for (uid, owner) in &history.owners {
            if owner.kind != kind
                || owner.name != name
                || controller
                    .as_ref()
                    .is_some_and(|controller| controller != uid)
            {
                continue;
            }
            let explaining: Vec<_> = owner
                .states
                .iter()
                .filter(|from| {
                    from.revision < state.revision && fill.is_from(kind, from.spec(), self.settings)
                })
                .collect();
            if explaining.is_empty() {
                continue;
            }
            // One that may have been used is enough.
            any = Some(finding_of(owner, uid, &explaining)?);
        }
        any.or_else(|| {
            let mut found = finding(
                Wrong::Mixed,
                state,
                &format!(
                    "no single state of the {} {name:?} explains what the pod was filled with",
                    kind.word()
                ),
            );
            found.owners.extend(
                history
                    .owners
                    .iter()
                    .filter(|(_, owner)| owner.kind == kind && owner.name == name)
                    .map(|(uid, _)| uid.clone()),
            );
            Some(found)
        })
    }

    fn sources_of_fill(
        &self,
        owner: &Owner,
        state: &PodState,
        explaining: &[&State],
        fill: &Fill,
        is_controlled: bool,
    ) -> Option<Finding> {
        let alive: Vec<_> = explaining
            .iter()
            .copied()
            .filter(|from| !from.is_deleting())
            .collect();
        let what = format!("{} {:?}", owner.kind.word(), owner.name);
        let with = |wrong, sources: &[&State], because: String| {
            let mut found = finding(wrong, state, &because);
            found.sources = sources
                .iter()
                .map(|from| from.revision)
                .collect();
            Some(found)
        };
        let Some(last) = alive.last() else {
            return with(
                Wrong::Deleting,
                explaining,
                format!(
                    "the {what} was being deleted in the only state that explains what the pod was filled with"
                ),
            );
        };
        if alive.iter().all(|from| {
            !self
                .lacking(from, &fill.references)
                .is_empty()
        }) {
            let because = format!(
                "{} wrote generation {} of the {what}, and has no right to {}",
                last.writer,
                last.generation(),
                self.lacking(last, &fill.references)
                    .join(", ")
            );
            return with(Wrong::Lent, &[last], because);
        }
        let named = state
            .pod
            .pointer("/metadata/annotations")
            .and_then(|annotations| {
                annotations
                    .get(owner.kind.generation_annotation())?
                    .as_str()?
                    .parse::<i64>()
                    .ok()
            });
        let all = references(&state.pod);
        let may_steer = |from: &State| {
            // Who creates a pod and names the very state has chosen its image.
            (is_controlled && named == Some(from.generation()))
                || self.lacking(from, &all).is_empty()
        };
        if alive.iter().any(|from| may_steer(from)) {
            return None;
        }
        let because = format!(
            "{} chose the image by generation {} of the {what}, and has no right to {} of the pod",
            last.writer,
            last.generation(),
            self.lacking(last, &all).join(", ")
        );
        with(Wrong::Steered, &[last], because)
    }
}
