use super::view::{PodView, Scope, Slot};
use crate::{
    admission::{Owners, Placeholder, Policy, Reason, credential, denial::Cause},
    api::{AGENT_LABEL, TOOL_LABEL},
    images::{Component, ImageReference, MATRIX, Resolution, resolve},
};

/// A place of a pod that holds an image, and what becomes of it.
pub(in crate::admission) struct Place<'p> {
    pub(super) slot: Slot<'p>,
    /// `None` where it holds no placeholder.
    pub(super) answer: Option<Result<Answer, Cause>>,
}

/// The image that a placeholder becomes.
pub(super) struct Answer {
    pub(super) resolution: Resolution,
    /// Whether the pull policy for it is `Always` by Kubernetes' own rule.
    pub(super) pull_always: bool,
    /// Whether the container is the agent's own, which reads the token.
    pub(super) is_agent: bool,
}

/// Answers each placeholder of what a request may change.
pub(in crate::admission) fn places<'p>(
    pod: &'p PodView<'_>,
    scope: Scope,
    owners: Owners<'_>,
    policy: &Policy,
) -> Vec<Place<'p>> {
    pod.slots(scope)
        .map(|slot| Place {
            answer: answer(&slot, owners, policy),
            slot,
        })
        .collect()
}

fn answer(slot: &Slot<'_>, owners: Owners<'_>, policy: &Policy) -> Option<Result<Answer, Cause>> {
    let image = slot.image?;
    let placeholder = Placeholder::parse(image)?;
    Some(replace(slot, image, placeholder, owners, policy))
}

fn replace(
    slot: &Slot<'_>,
    image: &str,
    placeholder: Placeholder<'_>,
    owners: Owners<'_>,
    policy: &Policy,
) -> Result<Answer, Cause> {
    let unresolved = |detail: &str, hint: &str| {
        Err(Cause::invalid(Reason::UnresolvedPlaceholder, slot.field(), image, detail).hint(hint))
    };
    let (component, own) = match placeholder {
        Placeholder::Agent => match owners.agent {
            Some(agent) => (agent.runtime.component(), agent.image.as_deref()),
            None => {
                return unresolved(
                    &format!(
                        "the placeholder stands for the image of the Agent that the label {AGENT_LABEL} names"
                    ),
                    &format!(
                        "label the pod with {AGENT_LABEL} and the name of an Agent of its namespace"
                    ),
                );
            }
        },
        Placeholder::Tool => match owners.tool {
            Some(tool) => (Component::Tool, tool.image.as_deref()),
            None => {
                return unresolved(
                    &format!(
                        "the placeholder stands for the image of the Tool that the label {TOOL_LABEL} names"
                    ),
                    &format!(
                        "label the pod with {TOOL_LABEL} and the name of a Tool of its namespace"
                    ),
                );
            }
        },
        Placeholder::Row(row) => (row.component, None),
        Placeholder::Unknown(_) => {
            let known = MATRIX
                .iter()
                .filter_map(|row| row.placeholder);
            let known = ["agent", "tool"]
                .into_iter()
                .chain(known)
                .collect::<Vec<_>>()
                .join(", ");
            return unresolved(
                "the placeholder names no image of the matrix",
                &format!("write {} and one of {known}", Placeholder::image("")),
            );
        }
    };
    let owner = if component == Component::Tool {
        "Tool"
    } else {
        "Agent"
    };
    let Some(resolution) = resolve(component, own, &policy.images) else {
        return unresolved(
            &format!("the {owner} that the pod is labelled with has no image"),
            &format!("set spec.image of the {owner}"),
        );
    };
    // A second pass would take it for another image than this one.
    if Placeholder::parse(&resolution.image).is_some() {
        return unresolved(
            &format!(
                "the image that replaces it, {}, is a placeholder itself",
                credential::shown(&resolution.image)
            ),
            &format!("set spec.image of the {owner} to an image"),
        );
    }
    match resolution
        .image
        .parse::<ImageReference>()
    {
        Ok(reference) => Ok(Answer {
            pull_always: reference.pull_always(),
            is_agent: matches!(placeholder, Placeholder::Agent),
            resolution,
        }),
        // Only the image of an Agent or Tool that entered while admission was away.
        Err(error) => Err(Cause::invalid(
            Reason::InvalidImage,
            slot.field(),
            &resolution.image,
            &format!("spec.image of the {owner} {error}"),
        )),
    }
}
