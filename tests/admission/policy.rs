//! What an admin allows.

use agentkube::{
    admission::{Policy, SETTINGS, Webhook},
    images::rows,
};
use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};

use crate::support::{World, agent, agent_pod, review, tool};

const ALLOWED: (&str, &str) = (
    "AGENTKUBE_ALLOWED_REGISTRIES",
    "registry.example.com/mirror, quay.io/team",
);
const MIRROR: (&str, &str) = ("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com/mirror");
const WARN: (&str, &str) = ("AGENTKUBE_ENFORCEMENT", "warn");

/// A container that somebody wrote out, on a registry that is not allowed.
fn add_sidecar(pod: &mut Value) {
    let containers = pod["spec"]["containers"]
        .as_array_mut()
        .expect("containers");
    containers.push(json!({"name": "sidecar", "image": "nginx:1.27"}));
}

#[test]
fn an_image_outside_the_allowed_registries_is_forbidden() {
    let world = World::with_env(&[ALLOWED, MIRROR]);
    let object = agent(
        &json!({"runtime": "Custom", "image": "registry.example.com.evil.org/mirror/agent:v1"}),
    );
    assert_json_snapshot!(world.ask(Webhook::Mutate, &review("agents", "CREATE", &object, None)));
    let object = tool(&json!({"type": "custom", "image": "browser:v1"}));
    assert_snapshot!(
        world
            .causes(Webhook::Validate, &review("tools", "CREATE", &object, None))
            .join("\n")
    );
    for image in [
        "quay.io/team/agent:v1",
        "registry.example.com/mirror/a/b:v1",
    ] {
        let object = agent(&json!({"runtime": "Custom", "image": image}));
        let causes = world.causes(Webhook::Mutate, &review("agents", "CREATE", &object, None));
        assert!(causes.is_empty(), "{causes:?}");
    }
}

#[test]
fn every_image_of_a_pod_is_judged_whoever_wrote_it() {
    let world = World::with_env(&[ALLOWED, MIRROR])
        .agent(&json!({"runtime": "Custom", "image": "docker.io/evil/agent:v1"}));
    let mut pod = agent_pod();
    add_sidecar(&mut pod);
    pod["spec"]["volumes"] =
        json!([{"name": "cli", "image": {"reference": "docker.io/library/cli:v1"}}]);
    assert_snapshot!(
        world
            .causes(Webhook::Mutate, &review("pods", "CREATE", &pod, None))
            .join("\n")
    );
    pod["spec"]["containers"][0]["image"] = json!("docker.io/evil/agent:v1");
    pod["spec"]["initContainers"] = json!([]);
    assert_eq!(
        world
            .causes(Webhook::Validate, &review("pods", "CREATE", &pod, None))
            .len(),
        3
    );
}

#[test]
fn a_change_of_an_image_in_place_is_judged_and_other_changes_are_not() {
    let world = World::with_env(&[ALLOWED, MIRROR]).agent(&json!({"runtime": "Codex"}));
    let (mut old, _) = World::default()
        .agent(&json!({"runtime": "Codex"}))
        .mutate(&review("pods", "CREATE", &agent_pod(), None));
    let mut new = old.clone();
    new["metadata"]["labels"]["team"] = json!("support");
    let causes = |old: &Value, new: &Value| {
        world.causes(Webhook::Validate, &review("pods", "UPDATE", new, Some(old)))
    };
    assert!(
        causes(&old, &new).is_empty(),
        "what ran before the policy can still be labelled"
    );
    old["spec"]["containers"][0]["image"] = json!("registry.example.com/mirror/codex:v1");
    assert!(!causes(&old, &new).is_empty());
}

#[test]
fn with_warnings_only_a_breach_is_admitted_and_everything_else_is_not() {
    let world = World::with_env(&[ALLOWED, MIRROR, WARN]).agent(&json!({"runtime": "Codex"}));
    let mut pod = agent_pod();
    add_sidecar(&mut pod);
    pod["spec"]["containers"][0]["env"] = json!([{"name": "OPENAI_API_KEY", "value": "hunter2"}]);
    let (patched, response) = world.mutate(&review("pods", "CREATE", &pod, None));
    assert_eq!(response["allowed"], json!(true));
    assert_json_snapshot!(response["warnings"]);
    assert_eq!(
        patched["spec"]["containers"][0]["image"],
        "registry.example.com/mirror/adaptivelive/codex:v0.3.0"
    );

    let both = agent(&json!({"runtime": "nonsense", "image": "nginx:1.27"}));
    let response = world.ask(Webhook::Mutate, &review("agents", "CREATE", &both, None));
    assert_eq!(response["status"]["code"], 422);
    assert_eq!(
        response["status"]["details"]["causes"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[test]
fn what_is_invalid_and_forbidden_is_invalid() {
    let world = World::with_env(&[ALLOWED, MIRROR]);
    let both = agent(&json!({"runtime": "nonsense", "image": "nginx:1.27"}));
    let response = world.ask(Webhook::Mutate, &review("agents", "CREATE", &both, None));
    assert_eq!(response["status"]["reason"], "Invalid");
    assert_eq!(
        response["status"]["details"]["causes"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
}

#[test]
fn a_credential_in_a_setting_is_never_repeated() {
    let secret = "sk-ant-api03-Planted0123456789AbCdEf";
    let variables = SETTINGS
        .iter()
        .map(|setting| setting.name)
        .chain(rows().filter_map(|row| row.variable))
        .chain(["AGENTKUBE_IMAGE_UNKNOWN", "AGENTKUBE_UNKNOWN"]);
    for variable in variables {
        for value in [
            secret.to_owned(),
            format!("https://robot:{secret}@registry.example.com"),
            format!("robot:{secret}@registry.example.com/path"),
            format!("registry.example.com/{secret}"),
            format!("registry.example.com/agent:{secret}"),
            format!("{secret}: {secret}"),
        ] {
            let allowed = ("AGENTKUBE_ALLOWED_REGISTRIES", "quay.io");
            let settings = [allowed, (variable, value.as_str())];
            for problem in Policy::parse(settings)
                .err()
                .into_iter()
                .flatten()
            {
                assert!(!problem.to_string().contains("Planted"), "{problem}");
            }
        }
    }
}

#[test]
fn each_setting_says_what_is_wrong_with_its_value() {
    let said: Vec<_> = SETTINGS
        .iter()
        .filter_map(|setting| Policy::parse([(setting.name, "Neither, nor")]).err())
        .flatten()
        .map(|problem| problem.to_string())
        .collect();
    assert_snapshot!(said.join("\n"));
}
