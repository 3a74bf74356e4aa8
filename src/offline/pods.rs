//! Pods and pod templates, judged by the webhooks.

use serde_json::{Map, Value, json};

use super::{
    metadata,
    output::verdict::{Decided, VerdictDecision},
};
use crate::{
    admission::{
        AuthorRights, Creation, Denial, Outcome, Owners, Patch, Placeholder, Policy, Review, Wants,
        Webhook, decide,
    },
    api::{
        AGENT_LABEL, EXCLUDED_NAMESPACES, GROUP, ImageDecision, TOOL_LABEL, image_holders,
        pod_slots,
    },
    images::{ImageReference, Resolution, Source, candidates},
};

/// The result for a pod.
#[derive(Debug, Default)]
pub(super) struct Admitted {
    pub(super) decided: Decided,
    pub(super) warnings: Vec<String>,
    pub(super) images: Vec<ImageDecision>,
    pub(super) alternatives: Vec<Vec<Resolution>>,
    pub(super) patch: Patch,
    pub(super) pod: Option<Value>,
}

/// True if the webhooks are called for objects of a namespace.
pub(super) fn is_served(namespace: &str) -> bool {
    !EXCLUDED_NAMESPACES.contains(&namespace)
}

/// The path of the pod template in an object; empty for a pod itself.
fn template(object: &Value) -> Option<&'static [&'static str]> {
    let text = |member: &str| {
        object
            .get(member)
            .and_then(Value::as_str)
    };
    match (text("apiVersion")?, text("kind")?) {
        ("v1", "Pod") => Some(&[]),
        ("apps/v1", "Deployment" | "StatefulSet" | "DaemonSet") | ("batch/v1", "Job") => {
            Some(&["spec", "template"])
        }
        ("batch/v1", "CronJob") => Some(&["spec", "jobTemplate", "spec", "template"]),
        _ => None,
    }
}

/// A pod, or the pod that a workload's template makes; `None` for other objects.
pub(super) fn of(mut object: Value, namespace: &str) -> Option<Value> {
    let path = template(&object)?;
    if path.is_empty() {
        return Some(object);
    }
    let name = json!(metadata::name(&object));
    let mut template = path
        .iter()
        .try_fold(&mut object, |value, member| value.get_mut(member));
    let mut take = |member| {
        template
            .as_deref_mut()
            .and_then(|template| template.get_mut(member))
            .map_or_else(|| json!({}), Value::take)
    };
    let (mut metadata, spec) = (take("metadata"), take("spec"));
    if let Some(members) = metadata.as_object_mut() {
        members.insert("name".to_owned(), name);
        members.insert("namespace".to_owned(), json!(namespace));
    }
    let mut pod = Map::new();
    pod.insert("apiVersion".to_owned(), json!("v1"));
    pod.insert("kind".to_owned(), json!("Pod"));
    pod.insert("metadata".to_owned(), metadata);
    pod.insert("spec".to_owned(), spec);
    Some(Value::Object(pod))
}

/// The webhooks that an API server calls for a pod, by the conditions of the registrations. Other
/// pods are not sent to any.
fn called(pod: &Value, namespace: &str, rewrites_defaults: bool) -> Vec<Webhook> {
    if !is_served(namespace) {
        return Vec::new();
    }
    let is_ours = is_matched(pod);
    [
        (is_ours, Webhook::Mutate),
        (rewrites_defaults, Webhook::RewriteDefaults),
        (is_ours, Webhook::Validate),
    ]
    .into_iter()
    .filter_map(|(is_called, webhook)| is_called.then_some(webhook))
    .collect()
}

/// Sends a pod through the webhooks. `find` returns the existing Agent and Tool;
/// `rewrites_defaults` is true if the pod's namespace opts in to it.
pub(super) fn admit<'o>(
    mut pod: Value,
    namespace: &str,
    rewrites_defaults: bool,
    policy: &Policy,
    find: impl Fn(Wants<'_>) -> Owners<'o>,
) -> Admitted {
    metadata::prepare(&mut pod, namespace);
    set_pull_policies(&mut pod);
    let webhooks = called(&pod, namespace, rewrites_defaults);
    if webhooks.is_empty() {
        return Admitted {
            pod: Some(pod),
            ..Admitted::default()
        };
    }
    let mut admitted = Admitted::default();
    for webhook in webhooks {
        let review = Review::of(Creation {
            group: "",
            kind: "Pod",
            resource: "pods",
            namespace,
            name: metadata::name(&pod),
            object: &pod,
        });
        let decision = match review {
            Ok(review) => decide(
                webhook,
                &review,
                find(review.wants(webhook)),
                AuthorRights::Unasked,
                policy,
            ),
            Err(unreadable) => {
                admitted.decided = unreadable_pod(&unreadable);
                return admitted;
            }
        };
        for warning in decision.warnings {
            if !admitted.warnings.contains(&warning) {
                admitted.warnings.push(warning);
            }
        }
        match decision.outcome {
            Outcome::Allow { patch, images } => {
                if let Err(error) = json_patch::patch(&mut pod, patch.operations()) {
                    admitted.decided = Decided::deny(
                        500,
                        "InternalError",
                        format!("the patch does not fit the pod: {error}"),
                        Vec::new(),
                    );
                    return admitted;
                }
                let alternatives = images
                    .iter()
                    .map(|image| alternatives(image, policy));
                admitted
                    .alternatives
                    .extend(alternatives);
                admitted.images.extend(images);
                admitted.patch.append(patch);
            }
            Outcome::Conflict(conflict) => {
                admitted.decided = Decided::deny(409, "Conflict", conflict.message(), Vec::new());
                return admitted;
            }
            Outcome::Deny(denial) => {
                admitted.decided = (&denial).into();
                return admitted;
            }
        }
    }
    admitted.pod = (admitted.decided.decision == VerdictDecision::Allow).then_some(pod);
    admitted
}

/// The images that the rules below the chosen one would have given.
fn alternatives(image: &ImageDecision, policy: &Policy) -> Vec<Resolution> {
    // The rule for an own image comes before all rules that are tried here.
    let chosen = usize::from(image.source != Source::Resource);
    candidates(image.component, None, &policy.images)
        .skip(chosen)
        .collect()
}

/// The API server's refusal of a pod that it cannot decode, before any webhook.
fn unreadable_pod(unreadable: &Denial) -> Decided {
    let why = unreadable
        .causes
        .iter()
        .map(|cause| cause.message.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    Decided::undecodable("Pod", "v1", &why, Vec::new())
}

/// [`Condition::HasPlaceholderOrOwner`](crate::admission::Condition) for a new pod: other pods are
/// never sent to the webhooks. A property test compares it with the expression of the registration.
fn is_matched(pod: &Value) -> bool {
    let has_label = [AGENT_LABEL, TOOL_LABEL]
        .iter()
        .any(|label| {
            pod.get("metadata")
                .and_then(|metadata| metadata.get("labels"))
                .is_some_and(|labels| labels.get(label).is_some())
        });
    let has_owner = pod
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|reference| reference.get("apiVersion")?.as_str())
        .any(|version| {
            version
                .split_once('/')
                .is_some_and(|(group, _)| group == GROUP)
        });
    let has_placeholder = pod_slots(pod).any(|slot| Placeholder::parse(slot.image).is_some());
    has_label || has_owner || has_placeholder
}

/// Sets missing pull policies, as the API server does before it calls a webhook.
fn set_pull_policies(pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec") else {
        return;
    };
    for (kind, holder) in image_holders(spec) {
        set_pull_policy(holder, kind.image(), kind.pull_policy());
    }
}

fn set_pull_policy(holder: &mut Value, image: &str, policy: &str) {
    let is_set = holder
        .get(policy)
        .is_some_and(|policy| !policy.is_null());
    let always = holder
        .get(image)
        .and_then(Value::as_str)
        .and_then(|image| image.parse::<ImageReference>().ok())
        .is_some_and(|image| image.pull_always());
    if let Some(holder) = holder
        .as_object_mut()
        .filter(|_| !is_set)
    {
        let word = if always { "Always" } else { "IfNotPresent" };
        holder.insert(policy.to_owned(), json!(word));
    }
}

#[cfg(test)]
mod tests {
    use cel::{Context, Program, Value as CelValue};
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::admission::Condition;

    /// A pod with an image in each kind of slot, labels, and an owner.
    fn pods() -> impl Strategy<Value = Value> {
        let images = select(vec![
            "agentkube.invalid/agent",
            "agentkube.invalid/",
            "agentkube.invalid.example.com/codex",
            "docker.io/library/nginx",
        ]);
        let labels = select(vec![
            json!({}),
            json!({"app": "x"}),
            json!({AGENT_LABEL: "a"}),
            json!({TOOL_LABEL: ""}),
        ]);
        let owners = select(vec![
            json!([]),
            json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r"}]),
            json!([{"apiVersion": "agentkube.io/v1alpha1", "kind": "Agent", "name": "a"}]),
            json!([{"apiVersion": "agentkube.io.example.com/v1", "kind": "Agent", "name": "a"}]),
        ]);
        (vec(images, 4), labels, owners).prop_map(|(images, labels, owners)| {
            json!({
                "metadata": {"name": "p", "labels": labels, "ownerReferences": owners},
                "spec": {
                    "containers": [{"name": "c", "image": images[0]}, {"name": "none"}],
                    "initContainers": [{"name": "i", "image": images[1]}],
                    "ephemeralContainers": [{"name": "e", "image": images[2]}],
                    "volumes": [{"name": "v", "image": {"reference": images[3]}}, {"name": "w"}],
                },
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn a_pod_comes_to_the_webhooks_where_the_registration_says_so(pod in pods()) {
            let expression = Condition::HasPlaceholderOrOwner.expression();
            let program = Program::compile(&expression).expect("the condition is CEL");
            let mut context = Context::default();
            for (name, value) in [("object", &pod), ("oldObject", &Value::Null)] {
                context.add_variable(name, value).expect("a pod is a value");
            }
            let matches = program.execute(&context);
            prop_assert_eq!(matches.ok(), Some(CelValue::Bool(is_matched(&pod))));
        }
    }
}
