//! What holds for every pod, and for every spec.

use agentkube::admission::Webhook;
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

use crate::{
    arbitrary::{CONTAINER_LISTS, agent_spec, pod, shuffled},
    support::{World, agent, controller, review, tool},
};

/// Settings, Agents and Tools of several kinds, all of whose images are on the mirror; one Agent
/// that nothing can run.
fn world() -> impl Strategy<Value = World> {
    let agents = select(vec![
        json!({"runtime": "Codex", "agentToken": {"secretRef": {"name": "t", "key": "k"}}}),
        json!({"runtime": "Codex", "imagePullPolicy": "Never", "imagePullSecrets": [{"name": " own "}, {"name": ""}]}),
        json!({"runtime": "Custom", "image": "registry.example.com/mirror/adaptivelive/own"}),
        json!({"runtime": "Custom", "image": "agentkube.invalid/codex"}),
    ]);
    let layouts = select(vec!["repository", "name"]);
    (agents, layouts).prop_map(|(agent, layout)| {
        World::with_env(&[
            (
                "AGENTKUBE_IMAGE_REGISTRY",
                "registry.example.com/mirror/adaptivelive",
            ),
            ("AGENTKUBE_MIRROR_LAYOUT", layout),
            ("AGENTKUBE_PULL_SECRETS", "mirror"),
        ])
        .agent(&agent)
        .tool(&json!({"type": "custom", "image": "registry.example.com/mirror/adaptivelive/tool@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}))
    })
}

fn created(pod: &Value) -> Value {
    review("pods", "CREATE", pod, None)
}

/// A pod without the fields that admission owns.
fn foreign(pod: &Value) -> Value {
    let mut pod = pod.clone();
    for list in CONTAINER_LISTS {
        for container in items_mut(&mut pod, list) {
            let Some(container) = container.as_object_mut() else {
                continue;
            };
            container.remove("image");
            container.remove("imagePullPolicy");
            let env = container.remove("env");
            let mut env = env
                .filter(|env| !env.is_null())
                .unwrap_or(json!([]));
            if let Some(env) = env.as_array_mut() {
                env.retain(|entry| entry["name"] != json!("OPENAI_API_KEY"));
            }
            container.insert("env".to_owned(), env);
        }
    }
    for volume in items_mut(&mut pod, "volumes") {
        if let Some(image) = volume
            .get_mut("image")
            .and_then(Value::as_object_mut)
        {
            image.remove("reference");
            image.remove("pullPolicy");
        }
    }
    pod["spec"]["imagePullSecrets"].take();
    let mut annotations = pod["metadata"]["annotations"].take();
    if annotations.is_null() {
        annotations = json!({});
    }
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.remove("agentkube.io/images");
    }
    pod["metadata"]["annotations"] = annotations;
    pod
}

fn items_mut<'p>(pod: &'p mut Value, list: &str) -> impl Iterator<Item = &'p mut Value> {
    pod.pointer_mut(&format!("/spec/{list}"))
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

/// Every image of a pod, in order.
fn images(pod: &Value) -> Vec<&Value> {
    let items = |list| {
        pod["spec"][list]
            .as_array()
            .into_iter()
            .flatten()
    };
    CONTAINER_LISTS
        .into_iter()
        .flat_map(items)
        .map(|container| &container["image"])
        .chain(items("volumes").map(|volume| &volume["image"]["reference"]))
        .collect()
}

/// The pod with its lists the other way round.
fn reversed(pod: &Value) -> Value {
    let mut pod = pod.clone();
    for list in CONTAINER_LISTS
        .iter()
        .chain(&["volumes"])
    {
        if let Some(Value::Array(items)) = pod.pointer_mut(&format!("/spec/{list}")) {
            items.reverse();
        }
    }
    pod
}

/// The pod with its record sorted, which has the order of the lists.
fn with_sorted_record(mut pod: Value) -> Value {
    if let Some(Value::Object(annotations)) = pod.pointer_mut("/metadata/annotations")
        && let Some(Value::String(text)) = annotations.get("agentkube.io/images")
        && let Ok(Value::Array(mut record)) = serde_json::from_str(text)
    {
        record.sort_by_key(ToString::to_string);
        annotations.insert("agentkube.io/images".to_owned(), json!(record));
    }
    pod
}

/// The reasons of an answer, whatever they stand for.
fn reasons(response: &Value) -> Vec<&str> {
    let causes = response["status"]["details"]["causes"].as_array();
    let mut reasons: Vec<_> = causes
        .into_iter()
        .flatten()
        .filter_map(|cause| cause["reason"].as_str())
        .collect();
    reasons.sort_unstable();
    reasons
}

proptest! {
    #[test]
    fn patching_is_idempotent_and_validation_agrees_with_mutation(pod in pod(), world in world()) {
        let (once, response) = world.mutate(&created(&pod));
        let validated = world.ask(Webhook::Validate, &created(&once));
        prop_assert_eq!(&response["allowed"], &validated["allowed"], "{} then {}", response, validated);
        if response["allowed"] == json!(true) {
            let (twice, response) = world.mutate(&created(&once));
            prop_assert_eq!(&response["patch"], &Value::Null);
            prop_assert_eq!(&twice, &once);
        } else {
            prop_assert_eq!(&once, &pod);
        }
    }

    #[test]
    fn fields_that_admission_does_not_own_are_untouched(pod in pod(), world in world()) {
        let (patched, _) = world.mutate(&created(&pod));
        prop_assert_eq!(foreign(&patched), foreign(&pod));
    }

    #[test]
    fn with_a_mirror_every_placeholder_lands_on_it_and_nothing_else_does(pod in pod(), world in world()) {
        let (patched, response) = world.mutate(&created(&pod));
        prop_assume!(response["allowed"] == json!(true));
        let (before, after) = (images(&pod), images(&patched));
        prop_assert_eq!(before.len(), after.len());
        for (before, after) in before.into_iter().zip(after) {
            if before.as_str().unwrap_or_default().starts_with("agentkube.invalid/") {
                let image = after.as_str().unwrap_or_default();
                prop_assert!(image.starts_with("registry.example.com/mirror/adaptivelive/"), "{}", image);
            } else {
                prop_assert_eq!(after, before);
            }
        }
    }

    #[test]
    fn the_order_of_containers_and_volumes_decides_nothing(pod in pod(), world in world()) {
        let (patched, response) = world.mutate(&created(&pod));
        let (patched_reversed, response_reversed) = world.mutate(&created(&reversed(&pod)));
        prop_assert_eq!(&response["allowed"], &response_reversed["allowed"]);
        prop_assert_eq!(reasons(&response), reasons(&response_reversed));
        prop_assert_eq!(with_sorted_record(patched), with_sorted_record(reversed(&patched_reversed)));
    }

    #[test]
    fn the_order_of_fields_decides_nothing(pod in pod(), world in world(), seed in any::<u64>()) {
        let review = created(&pod);
        for webhook in [Webhook::Mutate, Webhook::Validate] {
            let answer = world.answer(webhook, review.to_string().as_bytes());
            let shuffled = world.answer(webhook, shuffled(&review, seed).as_bytes());
            prop_assert_eq!(answer, shuffled);
        }
    }

    #[test]
    fn an_update_that_is_patched_needs_no_second_patch(old in pod(), new in pod(), world in world()) {
        for resource in ["pods", "pods/ephemeralcontainers"] {
            let update = |new: &Value| review(resource, "UPDATE", new, Some(&old));
            let (once, response) = world.mutate(&update(&new));
            let validated = world.ask(Webhook::Validate, &update(&once));
            prop_assert_eq!(&response["allowed"], &validated["allowed"], "{} then {}", response, validated);
            let (twice, _) = world.mutate(&update(&once));
            prop_assert_eq!(twice, once);
        }
    }

    #[test]
    fn agents_and_tools_are_judged_alike_in_both_webhooks_and_in_any_order(
        spec in agent_spec(),
        world in world(),
        seed in any::<u64>(),
    ) {
        for (resource, object) in [("agents", agent(&spec)), ("tools", tool(&spec))] {
            let review = review(resource, "CREATE", &object, None);
            let answer = world.answer(Webhook::Mutate, review.to_string().as_bytes());
            let validated = world.answer(Webhook::Validate, review.to_string().as_bytes());
            let (answer, validated) = (String::from_utf8_lossy(&answer), String::from_utf8_lossy(&validated));
            // The schema speaks between the two, so only validation refuses what cannot be read.
            if validated.contains(r#""reason":"Unreadable""#) {
                prop_assert!(answer.contains(r#""allowed":true"#), "{} then {}", answer, validated);
            } else {
                prop_assert_eq!(&answer, &validated);
            }
            prop_assert!(!answer.contains("ghp_"), "{}", answer);
            let shuffled = shuffled(&review, seed);
            let shuffled = world.answer(Webhook::Mutate, shuffled.as_bytes());
            // What cannot be read is told by its line and column.
            if !answer.contains("MalformedReview") {
                prop_assert_eq!(answer, String::from_utf8_lossy(&shuffled));
            }
        }
    }

    #[test]
    fn no_body_ends_the_process(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = agentkube::admission::Review::parse(&body);
    }
}

#[test]
fn a_thousand_containers_of_one_name_are_all_filled() {
    let container =
        json!({"name": "same", "image": "agentkube.invalid/agent", "imagePullPolicy": "Always"});
    let pod = json!({
        "metadata": {
            "name": "bot", "labels": {"agentkube.io/agent": "bot"},
            "annotations": {"agentkube.io/agent-generation": "3"},
            "ownerReferences": [controller("Agent", "bot")],
        },
        "spec": {"containers": vec![container; 1_000]},
    });
    let world = World::default().agent(&json!({"runtime": "Codex"}));
    let (patched, _) = world.mutate(&created(&pod));
    let images = images(&patched);
    assert_eq!(images.len(), 1_000);
    assert!(
        images
            .iter()
            .all(|image| **image == json!("docker.io/adaptivelive/codex:v0.3.0"))
    );
    let (twice, response) = world.mutate(&created(&patched));
    assert_eq!((&twice, &response["patch"]), (&patched, &Value::Null));
}
