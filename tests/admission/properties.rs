//! What holds for every pod.

use agentkube::admission::Webhook;
use proptest::{prelude::*, sample::select};
use serde_json::{Map, Value, json};

use crate::support::{World, review};

fn image() -> impl Strategy<Value = String> {
    select(vec![
        "agentkube.invalid/agent",
        "agentkube.invalid/agentlet",
        "agentkube.invalid/session-recorder",
        "agentkube.invalid/codex",
        "nginx:1.27",
        "registry.example.com/team/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "adaptivelive/codex:v0.3.0",
    ])
    .prop_map(str::to_owned)
}

/// Members that this program does not know of, with names that need escaping in a path.
fn unknown() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map("x[a-z~/]{0,6}", "[ -~é]{0,8}", 0..3).prop_map(|members| {
        members
            .into_iter()
            .map(|(name, value)| (name, json!({"future": value})))
            .collect()
    })
}

fn container() -> impl Strategy<Value = Value> {
    let env = prop::option::of(prop::collection::vec("[A-Z]{1,4}", 0..3));
    (
        "[a-z]{1,8}",
        prop::option::of(image()),
        unknown(),
        env,
        any::<bool>(),
    )
        .prop_map(|(name, image, mut members, env, sidecar)| {
            members.insert("name".to_owned(), json!(name));
            if let Some(image) = image {
                members.insert("image".to_owned(), json!(image));
                members.insert("imagePullPolicy".to_owned(), json!("Always"));
            }
            if let Some(env) = env {
                let env = env
                    .iter()
                    .map(|name| json!({"name": name, "value": "v"}))
                    .collect::<Vec<_>>();
                members.insert("env".to_owned(), json!(env));
            }
            if sidecar {
                members.insert("restartPolicy".to_owned(), json!("Always"));
            }
            Value::Object(members)
        })
}

fn containers() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => prop::collection::vec(container(), 0..5).prop_map(|list| json!(list)),
        1 => Just(Value::Null),
    ]
}

fn pod() -> impl Strategy<Value = Value> {
    let annotations = prop::option::of(prop::collection::btree_map(
        "[a-z~/.]{1,8}",
        "[ -~]{0,8}",
        0..3,
    ));
    (containers(), containers(), annotations, unknown()).prop_map(|(main, init, annotations, mut spec)| {
        spec.insert("containers".to_owned(), main);
        spec.insert("initContainers".to_owned(), init);
        let mut metadata = json!({"name": "bot", "namespace": "team", "labels": {"agentkube.io/agent": "bot"}});
        if let Some(annotations) = annotations {
            metadata["annotations"] = json!(annotations);
        }
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "future": {"a": 1}})
    })
}

fn world() -> World {
    World::with_env(&[
        ("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com/mirror"),
        ("AGENTKUBE_PULL_SECRETS", "mirror"),
    ])
    .agent(&json!({"runtime": "Codex", "agentToken": {"secretRef": {"name": "t", "key": "k"}}}))
}

/// A pod without the fields that admission owns.
fn foreign(pod: &Value) -> Value {
    let mut pod = pod.clone();
    for list in ["containers", "initContainers"] {
        for container in pod["spec"][list]
            .as_array_mut()
            .into_iter()
            .flatten()
        {
            let Some(container) = container.as_object_mut() else {
                continue;
            };
            container.remove("image");
            container.remove("imagePullPolicy");
            let mut env = container
                .remove("env")
                .unwrap_or(json!([]));
            if let Some(env) = env.as_array_mut() {
                env.retain(|entry| entry["name"] != json!("OPENAI_API_KEY"));
            }
            container.insert("env".to_owned(), env);
        }
    }
    if let Some(spec) = pod["spec"].as_object_mut() {
        spec.remove("imagePullSecrets");
    }
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

proptest! {
    #[test]
    fn patching_is_idempotent_and_then_validation_agrees(pod in pod()) {
        let world = world();
        let (once, response) = world.mutate(&review("pods", "CREATE", &pod, None));
        prop_assert_eq!(&response["allowed"], &json!(true));
        let (twice, response) = world.mutate(&review("pods", "CREATE", &once, None));
        prop_assert_eq!(&response["patch"], &Value::Null);
        prop_assert_eq!(&twice, &once);
        prop_assert!(world.causes(Webhook::Validate, &review("pods", "CREATE", &once, None)).is_empty());
    }

    #[test]
    fn fields_that_admission_does_not_own_are_untouched(pod in pod()) {
        let (patched, _) = world().mutate(&review("pods", "CREATE", &pod, None));
        prop_assert_eq!(foreign(&patched), foreign(&pod));
    }

    #[test]
    fn with_a_mirror_every_placeholder_lands_on_it_and_nothing_else_does(pod in pod()) {
        let (patched, _) = world().mutate(&review("pods", "CREATE", &pod, None));
        for list in ["containers", "initContainers"] {
            let before = pod["spec"][list].as_array().cloned().unwrap_or_default();
            let after = patched["spec"][list].as_array().cloned().unwrap_or_default();
            for (before, after) in before.iter().zip(&after) {
                let image = before["image"].as_str().unwrap_or_default();
                if image.starts_with("agentkube.invalid/") {
                    let image = after["image"].as_str().unwrap_or_default();
                    prop_assert!(image.starts_with("registry.example.com/mirror/adaptivelive/"), "{}", image);
                } else {
                    prop_assert_eq!(&after["image"], &before["image"]);
                }
            }
        }
    }

    #[test]
    fn no_body_ends_the_process(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = agentkube::admission::Review::parse(&body);
    }
}
