//! The patch of an answer, applied to the pod that was asked about.
//!
//! - It applies, and it only adds at the paths that are admission's own; whatever else the pod
//!   holds is the same afterwards.
//! - A second pass over its result answers no patch, and validation admits it.
//! - With a mirror set, no placeholder becomes an image from elsewhere.

use agentkube::admission::{AuthorRights, Decision, Outcome, Placeholder, Review, Webhook, decide};
use json_patch::PatchOperation;
use serde_json::Value;

use crate::world::{MIRROR, MIRRORED, STRICT, World};

/// The lists of a pod that hold containers.
const CONTAINER_LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// Reads the data as the body of a review.
pub fn check(data: &[u8]) {
    for world in [&*MIRRORED, &*STRICT] {
        for webhook in [Webhook::Mutate, Webhook::RewriteDefaults] {
            patch_twice(webhook, data, world);
        }
    }
}

fn patch_twice(webhook: Webhook, body: &[u8], world: &World) {
    let Some(Outcome::Allow { patch, images }) = ask(webhook, body, world) else {
        return;
    };
    assert_eq!(patch.is_empty(), images.is_empty());
    if patch.is_empty() {
        return;
    }
    // Deeper than anybody's parser goes.
    let Ok(mut review) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    let before = review["request"]["object"].take();
    if !is_pod(&before) {
        return;
    }
    for operation in patch.operations().iter() {
        is_ours(operation, &before);
    }
    let mut after = before.clone();
    json_patch::patch(&mut after, patch.operations()).expect("the patch applies");
    assert_eq!(foreign(&after), foreign(&before));
    if webhook == Webhook::Mutate && std::ptr::eq(world, &raw const *MIRRORED) {
        every_placeholder_is_on_the_mirror(&before, &after);
    }

    review["request"]["object"] = after;
    let again = review.to_string();
    match ask(webhook, again.as_bytes(), world) {
        Some(Outcome::Allow { patch, .. }) => assert!(patch.is_empty(), "a second {patch:?}"),
        refused => panic!("the patched pod is refused: {refused:?}"),
    }
    if webhook == Webhook::Mutate {
        let validated = ask(Webhook::Validate, again.as_bytes(), world);
        assert!(
            matches!(validated, Some(Outcome::Allow { .. })),
            "{validated:?}"
        );
    }
}

/// The decision, for what can be read.
fn ask(webhook: Webhook, body: &[u8], world: &World) -> Option<Outcome> {
    let review = Review::parse(body).ok()?;
    let found = world.found(webhook, &review);
    let Decision { outcome, .. } = decide(
        webhook,
        &review,
        found.owners(),
        AuthorRights::Unasked,
        &world.policy,
    );
    Some(outcome)
}

/// Whether an API server could hold such a pod. Its own types refuse an array in an object's place,
/// which ours would read field by field.
fn is_pod(object: &Value) -> bool {
    serde_json::from_value::<k8s_openapi::api::core::v1::Pod>(object.clone()).is_ok()
}

fn is_ours(operation: &PatchOperation, pod: &Value) {
    let PatchOperation::Add(add) = operation else {
        panic!("{operation:?} adds nothing");
    };
    let path: Vec<_> = add
        .path
        .tokens()
        .map(|token| token.decoded().into_owned())
        .collect();
    let path: Vec<_> = path
        .iter()
        .map(String::as_str)
        .collect();
    let is_ours = match path.as_slice() {
        ["metadata", "annotations", name] => *name == "agentkube.io/images",
        ["metadata"] => pod.get("metadata").is_none(),
        ["metadata", "annotations"] | ["spec", "imagePullSecrets"] => true,
        ["spec", "imagePullSecrets", end] => *end == "-",
        ["spec", "volumes", _, "image", member] => matches!(*member, "reference" | "pullPolicy"),
        ["spec", list, _, member] => {
            CONTAINER_LISTS.contains(list) && matches!(*member, "image" | "imagePullPolicy" | "env")
        }
        ["spec", list, _, "env", start] => CONTAINER_LISTS.contains(list) && *start == "0",
        _ => false,
    };
    assert!(is_ours, "{operation:?}");
}

/// The pod without what admission may set. What it may add to a list or an object that is not there
/// counts as added to an empty one.
fn foreign(pod: &Value) -> Value {
    let mut pod = pod.clone();
    let mut containers = Vec::new();
    for list in CONTAINER_LISTS {
        containers.extend(items(&mut pod, &format!("/spec/{list}")).map(|container| {
            take(container, "image");
            take(container, "imagePullPolicy");
            let mut env = take(container, "env");
            if let Value::Array(entries) = &mut env {
                entries.retain(|entry| entry["name"] != "ANTHROPIC_API_KEY");
            }
            without_empty(env)
        }));
    }
    for volume in items(&mut pod, "/spec/volumes") {
        if let Some(image) = volume.get_mut("image") {
            take(image, "reference");
            take(image, "pullPolicy");
        }
    }
    let mut secrets = pod
        .get_mut("spec")
        .map_or(Value::Null, |spec| take(spec, "imagePullSecrets"));
    if let Value::Array(entries) = &mut secrets {
        entries.retain(|entry| entry["name"] != "mirror" && entry["name"] != "own");
    }
    let mut annotations = pod
        .get_mut("metadata")
        .map_or(Value::Null, |metadata| take(metadata, "annotations"));
    take(&mut annotations, "agentkube.io/images");
    if pod.get("metadata").is_none() {
        pod["metadata"] = Value::Object(serde_json::Map::new());
    }
    Value::from(vec![
        pod,
        Value::from(containers),
        without_empty(secrets),
        without_empty(annotations),
    ])
}

fn items<'v>(value: &'v mut Value, path: &str) -> impl Iterator<Item = &'v mut Value> {
    let list = value
        .pointer_mut(path)
        .and_then(Value::as_array_mut);
    list.into_iter().flatten()
}

fn take(object: &mut Value, member: &str) -> Value {
    let taken = object
        .as_object_mut()
        .and_then(|members| members.remove(member));
    taken.unwrap_or_default()
}

fn without_empty(value: Value) -> Value {
    let is_empty = value
        .as_array()
        .is_some_and(Vec::is_empty)
        || value
            .as_object()
            .is_some_and(serde_json::Map::is_empty);
    if is_empty { Value::Null } else { value }
}

/// Every image of a pod, in order.
fn images(pod: &Value) -> Vec<&str> {
    let list = |list| {
        pod["spec"][list]
            .as_array()
            .into_iter()
            .flatten()
    };
    let containers = CONTAINER_LISTS
        .into_iter()
        .flat_map(list)
        .map(|container| &container["image"]);
    let volumes = list("volumes").map(|volume| &volume["image"]["reference"]);
    containers
        .chain(volumes)
        .map(|image| image.as_str().unwrap_or_default())
        .collect()
}

fn every_placeholder_is_on_the_mirror(before: &Value, after: &Value) {
    let (before, after) = (images(before), images(after));
    assert_eq!(before.len(), after.len());
    for (before, after) in before.into_iter().zip(after) {
        let is_on_mirror = after
            .strip_prefix(MIRROR)
            .is_some_and(|rest| rest.starts_with('/'));
        let was_replaced = Placeholder::parse(before).is_some() && after != before;
        assert!(!was_replaced || is_on_mirror, "{before} became {after}");
        assert!(was_replaced || after == before, "{before} became {after}");
    }
}
