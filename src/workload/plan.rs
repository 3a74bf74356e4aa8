//! The images that the containers of an Agent's or a Tool's pod should run by the current rules,
//! compared with those that admission recorded on the pod.

use super::pod::{AGENT_CONTAINER, AGENTLET_CONTAINER, RECORDER_CONTAINER, TOOL_CONTAINER};
use crate::{
    admission::{Policy, Reason},
    api::ImageDecision,
    images::{Component, Runtime, Source, own_image, resolve},
};

/// The reason why the rules cannot serve a spec. Admission refuses such a spec, so it was stored
/// while admission was not in force.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PlanRefusal {
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

/// The images of an Agent's pod. `own` is its `spec.image`; `records` is true if the session is
/// recorded.
pub(crate) fn agent_images(
    runtime: Runtime,
    own: Option<&str>,
    records: bool,
    policy: &Policy,
) -> Result<Vec<ImageDecision>, PlanRefusal> {
    let recorder = records.then_some((RECORDER_CONTAINER, Component::SessionRecorder, None));
    [
        (AGENT_CONTAINER, runtime.component(), own),
        (AGENTLET_CONTAINER, Component::Agentlet, None),
    ]
    .into_iter()
    .chain(recorder)
    .map(|(container, component, own)| decide(container, component, own, policy))
    .collect()
}

/// The images of a custom Tool's pod. `own` is its `spec.image`.
pub(crate) fn tool_images(
    own: Option<&str>,
    policy: &Policy,
) -> Result<Vec<ImageDecision>, PlanRefusal> {
    Ok(vec![decide(TOOL_CONTAINER, Component::Tool, own, policy)?])
}

/// The differences between the plan and the record, in words. The same image by another rule is not
/// a difference.
pub(crate) fn changes(plan: &[ImageDecision], recorded: &[ImageDecision]) -> Vec<String> {
    let find = |list: &[ImageDecision], container: &str| {
        list.iter()
            .position(|decision| decision.container == container)
    };
    let mut changes = Vec::new();
    for wanted in plan {
        let container = &wanted.container;
        let Some(known) = find(recorded, container).and_then(|at| recorded.get(at)) else {
            changes.push(format!("container `{container}` is missing from the pod"));
            continue;
        };
        if known.component != wanted.component || known.image != wanted.image {
            changes.push(change(known, wanted));
        }
    }
    changes.extend(
        recorded
            .iter()
            .filter(|known| known.component == Component::SessionRecorder)
            .filter(|known| find(plan, &known.container).is_none())
            .map(|known| {
                format!(
                    "container `{}` is in the pod, but no longer needed",
                    known.container
                )
            }),
    );
    changes
}

/// Words for a container that was given one image where the rules now choose another.
pub(crate) fn change(known: &ImageDecision, wanted: &ImageDecision) -> String {
    format!(
        "container `{}` was given {}, but {} {}",
        wanted.container,
        known.image,
        wanted.image,
        rule(wanted)
    )
}

/// Words for the rule that chose an image, as the end of a sentence about it.
pub(crate) fn rule(decision: &ImageDecision) -> String {
    match (decision.source, decision.variable.as_deref()) {
        (Source::Resource, _) => "was chosen by spec.image".to_owned(),
        (Source::Default, _) => "is the default".to_owned(),
        (source, Some(variable)) => format!("was chosen by {variable} ({source})"),
        (source, None) => format!("was chosen by the rule {source}"),
    }
}

fn decide(
    container: &str,
    component: Component,
    own: Option<&str>,
    policy: &Policy,
) -> Result<ImageDecision, PlanRefusal> {
    // The manager's settings were parsed at start, so only a spec can be wrong here.
    let own = own_image(own).map_err(|error| PlanRefusal {
        reason: Reason::InvalidImage,
        message: match error.hint() {
            Some(hint) => format!("spec.image: {error} (hint: {hint})"),
            None => format!("spec.image: {error}"),
        },
    })?;
    let resolution = resolve(component, own, &policy.images).ok_or_else(|| PlanRefusal {
        reason: Reason::ImageRequired,
        message: "there is no default image (hint: set spec.image to the image that should run)"
            .to_owned(),
    })?;
    Ok(ImageDecision::new(container, resolution))
}
