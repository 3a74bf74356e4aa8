use std::collections::BTreeMap;

use serde_json::json;

use super::{
    resolve::{Answer, ImageSlot},
    view::{PodScope, PodView, Slot},
};
use crate::{
    admission::{AgentFacts, Owners, Policy, names, patch::Patch},
    api::{IMAGES_ANNOTATION, ImageDecision, PullPolicy},
};

/// The mutation of a pod without problems.
#[derive(Debug, Default)]
pub(in crate::admission) struct Mutation {
    pub(in crate::admission) patch: Patch,
    pub(in crate::admission) images: Vec<ImageDecision>,
}

/// Replaces every placeholder of a pod that was judged. A pod without placeholders is left
/// unchanged.
pub(in crate::admission) fn mutate(
    pod: &PodView<'_>,
    scope: PodScope,
    places: &[ImageSlot<'_>],
    owners: Owners<'_>,
    policy: &Policy,
) -> Mutation {
    let mut mutation = Mutation::default();
    // An Agent only affects a pod that gets its image, not one that merely carries its label.
    let is_agents = places
        .iter()
        .any(|place| matches!(&place.answer, Some(Ok(answer)) if answer.is_agent));
    let agent = owners.agent.filter(|_| is_agents);
    for ImageSlot { slot, answer } in places {
        if let Some(Ok(answer)) = answer {
            fill(slot, answer, scope, agent, &mut mutation.patch);
            mutation
                .images
                .push(ImageDecision::new(slot.name, answer.resolution.clone()));
        }
    }
    if mutation.images.is_empty() {
        return mutation;
    }
    // In requests of other scopes the API server silently drops changes to these fields.
    if scope == PodScope::Create {
        add_pull_secrets(pod, agent, policy, &mut mutation.patch);
    }
    if scope != PodScope::Ephemeral {
        record(pod, &mutation.images, &mut mutation.patch);
    }
    mutation
}

/// Sets the image of one container or volume, and what depends on it.
fn fill(
    slot: &Slot<'_>,
    answer: &Answer,
    scope: PodScope,
    agent: Option<&AgentFacts>,
    patch: &mut Patch,
) {
    patch.add(slot.image_path(), json!(answer.resolution.image.as_str()));
    if scope == PodScope::Update {
        return;
    }
    let wanted = pull_policy(slot, answer, agent);
    if slot.pull_policy != Some(wanted.as_str()) {
        patch.add(slot.pull_policy_path(), json!(wanted.as_str()));
    }
    if answer.is_agent
        && slot.kind.is_container()
        && let Some(variable) = agent.and_then(|agent| token_variable(slot, agent))
    {
        match slot.env {
            Some(_) => patch.add(slot.path(&["env", "0"]), variable),
            None => patch.add(slot.path(&["env"]), json!([variable])),
        }
    }
}

/// The pull policy to set. The API server defaults the policy of a placeholder to `Always`, because
/// it has no tag. Any other value was set on purpose, and stays unless the Agent has its own.
fn pull_policy(slot: &Slot<'_>, answer: &Answer, agent: Option<&AgentFacts>) -> PullPolicy {
    if let Some(policy) = agent.and_then(|agent| agent.pull_policy) {
        return policy;
    }
    match slot.pull_policy {
        Some("Never") => PullPolicy::Never,
        Some("IfNotPresent") => PullPolicy::IfNotPresent,
        _ if answer.resolution.image.pull_always() => PullPolicy::Always,
        _ => PullPolicy::IfNotPresent,
    }
}

/// The environment variable with the Agent's token, unless the container has one of that name.
fn token_variable(slot: &Slot<'_>, agent: &AgentFacts) -> Option<serde_json::Value> {
    let name = agent.runtime.token()?;
    let secret = agent.token.as_deref()?;
    let has_entry = slot
        .env
        .into_iter()
        .flatten()
        .any(|variable| variable.name.as_str() == name);
    (!has_entry).then(|| {
        json!({
            "name": name,
            "valueFrom": {"secretKeyRef": {"name": secret.name, "key": secret.key}},
        })
    })
}

/// Adds the Agent's pull secrets, or else the manager's, except those that the pod already names.
fn add_pull_secrets(
    pod: &PodView<'_>,
    agent: Option<&AgentFacts>,
    policy: &Policy,
    patch: &mut Patch,
) {
    let own = agent
        .map(|agent| &*agent.pull_secrets)
        .unwrap_or_default();
    let wanted: Vec<&str> = if own.is_empty() {
        policy
            .pull_secrets
            .iter()
            .map(String::as_str)
            .collect()
    } else {
        own.iter().map(AsRef::as_ref).collect()
    };
    let present = pod.spec.image_pull_secrets.as_deref();
    let mut missing: Vec<&str> = Vec::new();
    for name in wanted {
        let is_present = present
            .into_iter()
            .flatten()
            .any(|secret| secret.name.as_str() == name);
        // An illegal name was never checked.
        if names::is_subdomain(name) && !is_present && !missing.contains(&name) {
            missing.push(name);
        }
    }
    let mut entries = missing
        .into_iter()
        .map(|name| json!({"name": name}));
    if present.is_some() {
        for entry in entries {
            patch.add(Patch::path(&["spec", "imagePullSecrets", "-"]), entry);
        }
    } else if let Some(first) = entries.next() {
        let list = std::iter::once(first)
            .chain(entries)
            .collect::<Vec<_>>();
        patch.add(Patch::path(&["spec", "imagePullSecrets"]), json!(list));
    }
}

/// Records the decision, added to that of an earlier pass over the same pod.
pub(super) fn record(pod: &PodView<'_>, images: &[ImageDecision], patch: &mut Patch) {
    let mut recorded: Vec<ImageDecision> = pod
        .annotation(IMAGES_ANNOTATION)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    recorded.retain(|earlier| {
        images
            .iter()
            .all(|image| image.container != earlier.container)
    });
    recorded.extend_from_slice(images);
    // A list of plain strings always serializes.
    let text = serde_json::to_string(&recorded).unwrap_or_default();
    if pod.metadata.annotations.is_some() {
        patch.add(
            Patch::path(&["metadata", "annotations", IMAGES_ANNOTATION]),
            json!(text),
        );
    } else {
        let annotations = BTreeMap::from([(IMAGES_ANNOTATION, text)]);
        if pod.metadata.is_present {
            patch.add(
                Patch::path(&["metadata", "annotations"]),
                json!(annotations),
            );
        } else {
            patch.add(
                Patch::path(&["metadata"]),
                json!({"annotations": annotations}),
            );
        }
    }
}
