use super::{
    owner::{OwnerKind, PodOwner},
    view::{PodScope, PodView, Slot},
};
use crate::{
    admission::{
        ObjectState, Owners, Placeholder, Policy, Reason, change::Change, credential, denial::Cause,
    },
    images::{Component, MATRIX, Resolution, own_image, resolve},
};

/// A place of a pod that holds an image, and the image that replaces it.
pub(in crate::admission) struct ImageSlot<'p> {
    pub(super) slot: Slot<'p>,
    /// `None` if the image is not a placeholder.
    pub(super) answer: Option<Result<Answer, Unfilled>>,
}

/// The reason why a placeholder is not replaced.
#[derive(Clone, Debug)]
pub(super) enum Unfilled {
    /// The pod was built from an outdated state of its owner and has to be built again. Holds the
    /// change, in words.
    Outdated(String),
    /// The pod or its owner has a problem.
    Refused(Cause),
}

impl ImageSlot<'_> {
    /// The change since the pod was built, if it keeps the placeholder from being replaced.
    pub(in crate::admission) fn outdated(&self) -> Option<&str> {
        match &self.answer {
            Some(Err(Unfilled::Outdated(change))) => Some(change),
            _ => None,
        }
    }
}

/// The image that a placeholder becomes.
pub(super) struct Answer {
    pub(super) resolution: Resolution,
    /// True for the agent's own container, which reads the token.
    pub(super) is_agent: bool,
}

/// Resolves each placeholder in the part that a request may change.
pub(in crate::admission) fn places<'p>(
    pod: &'p Change<PodView<'_>>,
    scope: PodScope,
    owners: Owners<'_>,
    policy: &Policy,
) -> Vec<ImageSlot<'p>> {
    pod.new
        .slots(scope)
        .map(|slot| ImageSlot {
            answer: answer(pod, &slot, owners, policy),
            slot,
        })
        .collect()
}

/// True if a pod asks for the image of an owner of this kind.
pub(in crate::admission) fn asks_for(pod: &PodView<'_>, scope: PodScope, kind: OwnerKind) -> bool {
    pod.slots(scope)
        .filter_map(|slot| Placeholder::parse(slot.image?))
        .any(|placeholder| match placeholder {
            Placeholder::Agent => kind == OwnerKind::Agent,
            Placeholder::Tool => kind == OwnerKind::Tool,
            Placeholder::Row(_) | Placeholder::Unknown(_) => false,
        })
}

fn answer(
    pod: &Change<PodView<'_>>,
    slot: &Slot<'_>,
    owners: Owners<'_>,
    policy: &Policy,
) -> Option<Result<Answer, Unfilled>> {
    let image = slot.image?;
    let placeholder = Placeholder::parse(image)?;
    let Owners { agent, tool } = owners;
    let known = match placeholder {
        Placeholder::Agent => check_owner(
            pod,
            slot,
            OwnerKind::Agent,
            agent.map(|agent| (agent.state(), agent.is_being_deleted)),
        ),
        Placeholder::Tool => check_owner(
            pod,
            slot,
            OwnerKind::Tool,
            tool.map(|tool| (tool.state(), tool.is_being_deleted)),
        ),
        Placeholder::Row(_) | Placeholder::Unknown(_) => Ok(()),
    };
    Some(known.and_then(|()| {
        replace(slot, image, placeholder, owners, policy).map_err(Unfilled::Refused)
    }))
}

/// Checks that a pod gets the image of its owner: the owner controls it, is not being deleted, and
/// is in exactly the state that the pod was built from. Rights are checked for each state
/// separately, so a pod combined from two states could use what nobody was permitted.
fn check_owner(
    pod: &Change<PodView<'_>>,
    slot: &Slot<'_>,
    kind: OwnerKind,
    known: Option<(ObjectState<'_>, bool)>,
) -> Result<(), Unfilled> {
    let refused = |detail: &str, hint: &str| {
        Err(Unfilled::Refused(
            Cause::invalid(
                Reason::UnresolvedPlaceholder,
                slot.field(),
                slot.image.unwrap_or_default(),
                detail,
            )
            .hint(hint),
        ))
    };
    let word = kind.as_str();
    let Some(PodOwner { name, built_from }) = pod.owner(kind) else {
        return refused(
            &format!(
                "the placeholder stands for the image of the {word} that controls the pod, and none does"
            ),
            "write the image out, or a placeholder of the matrix such as agentkube.invalid/codex",
        );
    };
    let name = credential::shown(name);
    let Some(built_from) = built_from else {
        return refused(
            &format!(
                "{word} {name} does not control this pod, and whoever may write that {word} would choose what runs here"
            ),
            "write the image out, or a placeholder of the matrix such as agentkube.invalid/codex",
        );
    };
    match known {
        Some((_, true)) => Err(Unfilled::Outdated(format!(
            "{word} {name} is being deleted"
        ))),
        Some((state, false)) if state != built_from => Err(Unfilled::Outdated(format!(
            "it was built from generation {} of {word} {name}, which has changed since",
            built_from.generation
        ))),
        // A missing owner is reported once, at the label or the controller reference.
        Some(_) | None => Ok(()),
    }
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
    // A missing owner is reported at the label or the controller reference, too.
    let missing = |kind: OwnerKind| {
        unresolved(
            &format!("the {} of the pod does not exist", kind.as_str()),
            &format!("create the {} first", kind.as_str()),
        )
    };
    let (component, own) = match placeholder {
        Placeholder::Agent => match owners.agent {
            Some(agent) => (agent.runtime.component(), agent.image.as_deref()),
            None => return missing(OwnerKind::Agent),
        },
        Placeholder::Tool => match owners.tool {
            Some(tool) => (Component::Tool, tool.image.as_deref()),
            None => return missing(OwnerKind::Tool),
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
    // A second pass would take the result for a new placeholder.
    let placeholder_itself = |chosen: &str| {
        unresolved(
            &format!(
                "the image that replaces it, {}, is a placeholder itself",
                credential::shown(chosen)
            ),
            &format!("set spec.image of the {owner} to an image"),
        )
    };
    let reference = match own_image(own) {
        Ok(reference) => reference,
        Err(error) => {
            let own = own.unwrap_or_default();
            if Placeholder::parse(own).is_some() {
                return placeholder_itself(own);
            }
            // Only possible if the Agent or Tool was stored while admission was not in force.
            return Err(Cause::invalid(
                Reason::InvalidImage,
                slot.field(),
                own,
                &format!("spec.image of the {owner} {error}"),
            ));
        }
    };
    let Some(resolution) = resolve(component, reference, &policy.images) else {
        return unresolved(
            &format!("the {owner} of the pod has no image"),
            &format!("set spec.image of the {owner}"),
        );
    };
    if Placeholder::parse(resolution.image.as_str()).is_some() {
        return placeholder_itself(resolution.image.as_str());
    }
    Ok(Answer {
        is_agent: matches!(placeholder, Placeholder::Agent),
        resolution,
    })
}
