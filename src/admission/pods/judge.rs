use super::{
    owner::OwnerKind,
    resolve::{ImageSlot, Unfilled},
    view::{PodScope, PodView, Slot},
};
use crate::{
    admission::{Owners, Placeholder, Policy, Reason, Webhook, change::Change, denial::Cause},
    api::{AGENT_LABEL, PodSlotKind, TOOL_LABEL},
    images::{ImageReference, Resolution, Source},
};

/// True if a pod is admitted without being judged: a mirror pod, or an update that changes nothing
/// that is judged. A pod that is being deleted is no exception, since its images can still be
/// changed.
pub(in crate::admission) fn is_settled(pod: &Change<PodView<'_>>, scope: PodScope) -> bool {
    if pod.new.is_mirror_pod() {
        return true;
    }
    let Some(old) = pod.old.as_ref() else {
        return false;
    };
    let is_same = |kind: OwnerKind| {
        old.label(kind.label()) == pod.new.label(kind.label())
            && old.controller(kind) == pod.new.controller(kind)
    };
    OwnerKind::ALL.into_iter().all(is_same)
        && old
            .slots(scope)
            .map(judged)
            .eq(pod.new.slots(scope).map(judged))
}

/// The parts of a slot that are judged.
fn judged(slot: Slot<'_>) -> (PodSlotKind, &str, Option<&str>) {
    (slot.kind, slot.name, slot.image)
}

/// Finds the problems of a pod. After mutation no placeholder may be left; before it, every
/// placeholder must be replaceable.
pub(in crate::admission) fn judge(
    webhook: Webhook,
    pod: &Change<PodView<'_>>,
    places: &[ImageSlot<'_>],
    owners: Owners<'_>,
    policy: &Policy,
) -> Vec<Cause> {
    let mut causes: Vec<Cause> = pod.owner_mismatches().collect();
    if let Some(owner) = pod.owner(OwnerKind::Agent)
        && owners.agent.is_none()
    {
        causes.push(missing(
            Reason::UnknownAgent,
            AGENT_LABEL,
            owner.name,
            "an Agent",
        ));
    }
    if let Some(owner) = pod.owner(OwnerKind::Tool)
        && owners.tool.is_none()
    {
        causes.push(missing(
            Reason::UnknownTool,
            TOOL_LABEL,
            owner.name,
            "a Tool",
        ));
    }
    for place in places {
        let slot = &place.slot;
        let unresolved = match webhook {
            Webhook::Mutate => match &place.answer {
                Some(Err(Unfilled::Refused(cause))) => Some(cause.clone()),
                Some(Ok(_) | Err(Unfilled::Outdated(_))) | None => None,
            },
            // This webhook ignores placeholders.
            Webhook::RewriteDefaults => None,
            Webhook::Validate => left_over(slot),
        };
        // A placeholder without an existing owner is reported once, not twice.
        causes.extend(unresolved.filter(|_| !waits_for_missing_owner(slot, pod, owners)));
        causes.extend(plaintext_token(slot, pod, owners));
        causes.extend(registry_not_allowed(place, policy));
    }
    causes
}

/// The refusal of an image outside the allowed registries, whether written out or replacing a
/// placeholder.
fn registry_not_allowed(place: &ImageSlot<'_>, policy: &Policy) -> Option<Cause> {
    if policy.allowed_registries.allow_all() {
        return None;
    }
    let ImageSlot { slot, answer } = place;
    let check = |image: &ImageReference, rule: &str| {
        let is_allowed = policy.allowed_registries.allow(image);
        (!is_allowed)
            .then(|| Cause::registry_not_allowed(slot.field(), image.as_str(), rule, policy))
    };
    match answer {
        Some(Ok(answer)) => {
            let Resolution {
                image,
                source,
                variable,
                ..
            } = &answer.resolution;
            let rule = match source {
                Source::Resource => "spec.image of its Agent or Tool",
                Source::Default => "the default",
                Source::Mirror | Source::Override => variable.unwrap_or_default(),
            };
            check(image, rule)
        }
        // An unresolved placeholder is refused as such.
        Some(Err(_)) => None,
        // An image that is not a reference is refused by the API server.
        None => check(&slot.image?.parse().ok()?, "the pod itself"),
    }
}

fn missing(reason: Reason, label: &str, name: &str, kind: &str) -> Cause {
    Cause::not_found(reason, format!("metadata.labels[{label}]"), name).hint(&format!(
        "create {kind} of that name in the pod's namespace first, or remove the label"
    ))
}

fn left_over(slot: &Slot<'_>) -> Option<Cause> {
    let image = slot.image?;
    Placeholder::parse(image)?;
    Some(
        Cause::invalid(
            Reason::UnresolvedPlaceholder,
            slot.field(),
            image,
            "a placeholder is still there after mutation",
        )
        .hint("check that the MutatingWebhookConfiguration agentkube-manager is registered and matches this pod"),
    )
}

fn waits_for_missing_owner(slot: &Slot<'_>, pod: &Change<PodView<'_>>, owners: Owners<'_>) -> bool {
    let is_named = |kind| pod.owner(kind).is_some();
    match slot.image.and_then(Placeholder::parse) {
        Some(Placeholder::Agent) => is_named(OwnerKind::Agent) && owners.agent.is_none(),
        Some(Placeholder::Tool) => is_named(OwnerKind::Tool) && owners.tool.is_none(),
        Some(Placeholder::Row(_) | Placeholder::Unknown(_)) | None => false,
    }
}

/// The token variable of the pod's Agent as a literal in any container. Anyone who may read the pod
/// could read the token.
fn plaintext_token(
    slot: &Slot<'_>,
    pod: &Change<PodView<'_>>,
    owners: Owners<'_>,
) -> Option<Cause> {
    pod.owner(OwnerKind::Agent)?;
    let token = owners.agent?.runtime.token()?;
    let index = slot
        .env?
        .iter()
        .find(|variable| variable.name.as_str() == token && !variable.has_source)?
        .index;
    Some(
        Cause::forbidden(
            Reason::PlaintextToken,
            format!(
                "spec.{}[{}].env[{index}].value",
                slot.kind.list(),
                slot.index
            ),
            &format!(
                "{token} is set to a literal, so anyone who may read the pod can read the token"
            ),
        )
        .hint("remove it, and name the Secret in spec.agentToken.secretRef of the Agent"),
    )
}
