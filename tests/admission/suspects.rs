//! The expression by which the API server tells suspects. What it does not suspect, validation admits:
//! the expression is narrower than our own rules, whatever somebody does to a pod after mutation.

use agentkube::admission::{Policy, Webhook};
use cel::{Context, Program, Value as CelValue};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use crate::support::{World, controller, review};

const IMAGES: [&str; 9] = [
    "agentkube.invalid/agent",
    "agentkube.invalid/",
    "docker.io/library/nginx",
    "docker.io/adaptivelive/codex:v0.3.0",
    "registry.example.com/team/app:v1",
    "registry.example.com/teammates/app",
    "registry.example.com.evil.org/team/app",
    "nginx",
    "no reference",
];

/// Where somebody writes, and what.
fn tampering() -> impl Strategy<Value = (&'static str, Value)> {
    let image = select(vec![
        "/spec/containers/0/image",
        "/spec/containers/1/image",
        "/spec/initContainers/0/image",
        "/spec/ephemeralContainers/0/image",
        "/spec/volumes/0/image/reference",
    ]);
    let images = (image, select(IMAGES.as_slice())).prop_map(|(path, image)| (path, json!(image)));
    let env = select(vec!["/spec/containers/0/env", "/spec/initContainers/0/env"]);
    let name = select(vec!["OPENAI_API_KEY", "CURSOR_API_KEY", "HOME"]);
    let value = select(vec![
        json!({"value": "v"}),
        json!({"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}),
    ]);
    let variables = (env, name, value).prop_map(|(path, name, mut variable)| {
        variable["name"] = json!(name);
        (path, json!([variable]))
    });
    let labels = select(vec!["bot", ""])
        .prop_map(|agent| ("/metadata/labels", json!({"agentkube.io/agent": agent})));
    let annotations = select(vec![json!({}), json!({"agentkube.io/images": ""})])
        .prop_map(|annotations| ("/metadata/annotations", annotations));
    prop_oneof![6 => images, 4 => variables, 1 => labels, 1 => annotations]
}

/// A pod of the Agent `bot`, before mutation.
fn pod() -> Value {
    let image = "docker.io/library/nginx";
    json!({
        "metadata": {
            "name": "bot", "labels": {"agentkube.io/agent": "bot"},
            "annotations": {"agentkube.io/agent-generation": "3"},
            "ownerReferences": [controller("Agent", "bot")],
        },
        "spec": {
            "containers": [{"name": "agentlet", "image": "agentkube.invalid/agent"}, {"name": "c", "image": image}],
            "initContainers": [{"name": "i", "image": image, "env": []}],
            "ephemeralContainers": [{"name": "e", "image": image}],
            "volumes": [{"name": "v", "image": {"reference": image}}, {"name": "w"}],
        },
    })
}

/// Whether the API server would send a pod to the validating webhook.
fn is_suspect(policy: &Policy, pod: &Value) -> bool {
    is_suspect_update(policy, pod, &Value::Null)
}

/// The same of an update, where there is an old pod.
fn is_suspect_update(policy: &Policy, pod: &Value, old: &Value) -> bool {
    let program =
        Program::compile(&policy.validation_match_condition()).expect("the expression is CEL");
    let mut context = Context::default();
    for (name, value) in [("object", pod), ("oldObject", old)] {
        context
            .add_variable(name, value)
            .expect("a pod is a value");
    }
    match program.execute(&context) {
        Ok(CelValue::Bool(answer)) => answer,
        other => panic!("no answer: {other:?}"),
    }
}

fn policy(allowed: &str) -> Policy {
    Policy::parse([("AGENTKUBE_ALLOWED_REGISTRIES", allowed)]).expect("legal settings")
}

/// Whether a pod with this container would come to the webhook.
fn is_suspect_container(policy: &Policy, container: &Value) -> bool {
    is_suspect(
        policy,
        &json!({
            "metadata": {"annotations": {"agentkube.io/images": "[]"}},
            "spec": {"containers": [container]},
        }),
    )
}

#[test]
fn a_pod_that_is_as_it_should_be_is_none() {
    let container = json!({
        "name": "agentlet", "image": "quay.io/team/app:v1",
        "env": [{"name": "HOME", "value": "/"}, {"name": "OPENAI_API_KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
    });
    assert!(!is_suspect_container(&Policy::default(), &container));
    assert!(!is_suspect_container(
        &policy("quay.io/team,docker.io"),
        &container
    ));
}

#[test]
fn what_was_not_mutated_is_one() {
    let containers = json!([{"name": "c", "image": "quay.io/team/app:v1"}]);
    for metadata in [json!({}), json!({"annotations": {"team": "a"}})] {
        let pod = json!({"metadata": metadata, "spec": {"containers": containers}});
        assert!(is_suspect(&Policy::default(), &pod), "{pod}");
    }
}

#[test]
fn a_placeholder_is_one_wherever_it_stands() {
    let placeholder = "agentkube.invalid/agent";
    let container = json!({"name": "c", "image": placeholder});
    for spec in [
        json!({"containers": [container]}),
        json!({"containers": [], "initContainers": [container]}),
        json!({"containers": [], "ephemeralContainers": [container]}),
        json!({"containers": [], "volumes": [{"name": "v", "image": {"reference": placeholder}}]}),
    ] {
        let pod = json!({"metadata": {"annotations": {"agentkube.io/images": "[]"}}, "spec": spec});
        for policy in [Policy::default(), policy("agentkube.invalid")] {
            assert!(is_suspect(&policy, &pod), "{pod}");
        }
    }
}

#[test]
fn an_image_that_is_not_at_sight_below_an_allowed_registry_is_one() {
    let policy = policy("quay.io/team");
    for image in ["nginx", "quay.io/teammates/app", "quay.io/other/app", ""] {
        assert!(
            is_suspect_container(&policy, &json!({"name": "c", "image": image})),
            "{image}"
        );
    }
    assert!(is_suspect_container(&policy, &json!({"name": "c"})));
}

#[test]
fn a_literal_token_is_one() {
    let container = json!({
        "name": "c", "image": "quay.io/team/app:v1",
        "env": [{"name": "OPENAI_API_KEY", "value": "sk"}],
    });
    assert!(is_suspect_container(&Policy::default(), &container));
}

#[test]
fn a_pod_whose_label_is_changed_or_taken_off_is_one() {
    let pod = |labels: Value| {
        json!({
            "metadata": {"annotations": {"agentkube.io/images": "[]"}, "labels": labels},
            "spec": {"containers": [{"name": "c", "image": "quay.io/team/app:v1"}]},
        })
    };
    let policy = Policy::default();
    for label in ["agentkube.io/agent", "agentkube.io/tool"] {
        let old = pod(json!({label: "bot", "team": "a"}));
        assert!(!is_suspect_update(
            &policy,
            &pod(json!({label: "bot"})),
            &old
        ));
        assert!(is_suspect_update(
            &policy,
            &pod(json!({label: "other"})),
            &old
        ));
        assert!(is_suspect_update(&policy, &pod(json!({"team": "a"})), &old));
        let mut bare = pod(json!({}));
        bare["metadata"]
            .as_object_mut()
            .expect("metadata")
            .remove("labels");
        assert!(is_suspect_update(&policy, &bare, &old));
        assert!(!is_suspect_update(&policy, &old, &bare));
    }
}

#[test]
fn lists_that_are_too_long_to_look_through_are() {
    let container = json!({"name": "c", "image": "quay.io/team/app:v1"});
    let pod = |number| {
        json!({
            "metadata": {"annotations": {"agentkube.io/images": "[]"}},
            "spec": {"containers": vec![container.clone(); number]},
        })
    };
    assert!(!is_suspect(&Policy::default(), &pod(16)));
    assert!(is_suspect(&Policy::default(), &pod(17)));
}

#[test]
fn a_registry_that_looks_like_a_credential_is_not_written_there() {
    let token = "sk-0123456789abcdefghijm";
    let policy = policy(&format!("registry.example.com/{token}"));
    assert!(
        !policy
            .validation_match_condition()
            .contains(token)
    );
    let image = format!("registry.example.com/{token}/app");
    assert!(is_suspect_container(
        &policy,
        &json!({"name": "c", "image": image})
    ));
}

proptest! {
    #[test]
    fn what_the_api_server_does_not_suspect_validation_admits(
        changes in vec(tampering(), 0..4),
        allowed in select(vec!["", "docker.io", "docker.io,registry.example.com/team"]),
    ) {
        let world = World::with_env(&[("AGENTKUBE_ALLOWED_REGISTRIES", allowed)])
            .agent(&json!({"runtime": "Codex"}));
        let (mut pod, _) = world.mutate(&review("pods", "CREATE", &pod(), None));
        prop_assert!(!is_suspect(&world.policy, &pod), "{}", pod);
        for (path, value) in changes {
            let (parent, member) = path.rsplit_once('/').expect("a path has members");
            pod.pointer_mut(parent).expect("the parent is there")[member] = value;
        }
        let response = world.ask(Webhook::Validate, &review("pods", "CREATE", &pod, None));
        if !is_suspect(&world.policy, &pod) {
            prop_assert_eq!(&response["allowed"], &json!(true), "{}", response);
        }
    }
}
