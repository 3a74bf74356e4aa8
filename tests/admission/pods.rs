//! Pods: placeholders, tokens, pull policies, pull secrets, the record.

use agentkube::admission::{MOST_ENTRIES, ObjectState, Review, Unreadable, Webhook};
use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};

use crate::support::{UID, World, agent_pod, apply, belongs_to_tool, controller, review};

fn claude() -> Value {
    json!({"runtime": "ClaudeCode", "agentToken": {"secretRef": {"name": "claude-token", "key": "token"}}})
}

fn create(pod: &Value) -> Value {
    review("pods", "CREATE", pod, None)
}

/// Containers as `name image policy`.
fn images(pod: &Value) -> Vec<String> {
    ["containers", "initContainers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| {
            pod["spec"][list]
                .as_array()
                .cloned()
                .unwrap_or_default()
        })
        .map(|container| {
            let text = |member: &str| {
                container[member]
                    .as_str()
                    .unwrap_or("-")
                    .to_owned()
            };
            format!(
                "{} {} {}",
                text("name"),
                text("image"),
                text("imagePullPolicy")
            )
        })
        .collect()
}

#[test]
fn the_pod_of_an_agent_gets_images_token_and_record() {
    let (_, response) = World::default()
        .agent(&claude())
        .mutate(&create(&agent_pod()));
    assert_json_snapshot!(response);
}

#[test]
fn every_lever_is_recorded_with_its_variable() {
    let world = World::with_env(&[
        ("AGENTKUBE_IMAGE_CLAUDECODE", "quay.io/team/claude:latest"),
        ("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com/mirror"),
    ])
    .agent(&claude());
    let (pod, _) = world.mutate(&create(&agent_pod()));
    assert_eq!(
        images(&pod),
        [
            "agent quay.io/team/claude:latest Always",
            "agentlet registry.example.com/mirror/adaptivelive/agentkube-agentlet:v0.3.0 IfNotPresent",
        ]
    );
    let record = pod["metadata"]["annotations"]["agentkube.io/images"]
        .as_str()
        .expect("a record");
    assert_json_snapshot!(serde_json::from_str::<Value>(record).expect("JSON"));
}

#[test]
fn the_agents_own_image_and_pull_policy_win() {
    let spec =
        json!({"runtime": "Codex", "image": "quay.io/team/codex:v9", "imagePullPolicy": "Never"});
    let world =
        World::with_env(&[("AGENTKUBE_IMAGE_CODEX", "quay.io/other/codex:v1")]).agent(&spec);
    let (pod, _) = world.mutate(&create(&agent_pod()));
    assert_eq!(
        images(&pod),
        [
            "agent quay.io/team/codex:v9 Never",
            "agentlet docker.io/adaptivelive/agentkube-agentlet:v0.3.0 Never",
        ]
    );
}

#[test]
fn a_pull_policy_that_a_person_wrote_stays() {
    let mut pod = agent_pod();
    pod["spec"]["containers"][0]["imagePullPolicy"] = json!("Never");
    let (pod, _) = World::default()
        .agent(&claude())
        .mutate(&create(&pod));
    assert_eq!(
        images(&pod)[0],
        "agent docker.io/adaptivelive/claudecode:v0.3.0 Never"
    );
}

#[test]
fn placeholders_are_replaced_wherever_an_image_can_stand() {
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "team"},
        "spec": {
            "containers": [
                {"name": "theirs", "image": "nginx:1.27", "imagePullPolicy": "IfNotPresent"},
                {"name": "tool", "image": "agentkube.invalid/tool", "imagePullPolicy": "Always"},
            ],
            "initContainers": [{"name": "codex", "image": "agentkube.invalid/codex", "imagePullPolicy": "Always"}],
            "volumes": [
                {"name": "data", "emptyDir": {}},
                {"name": "cli", "image": {"reference": "agentkube.invalid/goose", "pullPolicy": "Always"}},
            ],
        }
    });
    belongs_to_tool(&mut pod);
    let world =
        World::default().tool(&json!({"type": "custom", "image": "quay.io/team/browser:v1"}));
    let (_, response) = world.mutate(&create(&pod));
    assert_json_snapshot!(response["patch"]);
}

#[test]
fn a_debug_container_is_filled_in_each_time() {
    let world = World::default().agent(&claude());
    let (running, _) = world.mutate(&create(&agent_pod()));
    let mut pod = running.clone();
    for name in ["debugger-1", "debugger-2"] {
        let old = pod.clone();
        let mut list = pod["spec"]["ephemeralContainers"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        list.push(json!({"name": name, "image": "agentkube.invalid/claudecode", "imagePullPolicy": "Always"}));
        pod["spec"]["ephemeralContainers"] = json!(list);
        let review = review("pods/ephemeralcontainers", "UPDATE", &pod, Some(&old));
        let (patched, response) = world.mutate(&review);
        assert!(
            response["patch"]
                .as_array()
                .is_some_and(|patch| patch.len() == 2),
            "{response}"
        );
        pod = patched;
    }
    assert_eq!(
        images(&pod)[2..],
        [
            "debugger-1 docker.io/adaptivelive/claudecode:v0.3.0 IfNotPresent",
            "debugger-2 docker.io/adaptivelive/claudecode:v0.3.0 IfNotPresent",
        ]
    );
}

#[test]
fn pull_secrets_come_from_the_agent_or_else_from_the_manager() {
    let manager = [("AGENTKUBE_PULL_SECRETS", "mirror, backup")];
    let (pod, _) = World::with_env(&manager)
        .agent(&claude())
        .mutate(&create(&agent_pod()));
    assert_eq!(
        pod["spec"]["imagePullSecrets"],
        json!([{"name": "mirror"}, {"name": "backup"}])
    );

    let mut spec = claude();
    spec["imagePullSecrets"] =
        json!([{"name": " own "}, {"name": "own"}, {"name": ""}, {"name": "own"}]);
    let mut pod = agent_pod();
    pod["spec"]["imagePullSecrets"] = json!([{"name": "default"}]);
    let (pod, _) = World::with_env(&manager)
        .agent(&spec)
        .mutate(&create(&pod));
    assert_eq!(
        pod["spec"]["imagePullSecrets"],
        json!([{"name": "default"}, {"name": "own"}])
    );
}

#[test]
fn an_existing_token_entry_is_left_alone() {
    let entry = json!({"name": "ANTHROPIC_API_KEY", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "k"}}});
    let mut pod = agent_pod();
    pod["spec"]["containers"][0]["env"] = json!([entry]);
    let (pod, _) = World::default()
        .agent(&claude())
        .mutate(&create(&pod));
    assert_eq!(pod["spec"]["containers"][0]["env"], json!([entry]));
}

#[test]
fn a_token_in_plain_sight_is_refused_in_both_phases() {
    let mut pod = agent_pod();
    pod["spec"]["containers"][0]["env"] =
        json!([{"name": "A", "value": "1"}, {"name": "ANTHROPIC_API_KEY", "value": "hunter2"}]);
    let world = World::default().agent(&claude());
    assert_snapshot!(
        world
            .causes(Webhook::Mutate, &create(&pod))
            .join("\n")
    );
    pod["spec"]["containers"][0]["image"] = json!("nginx:1.27");
    pod["spec"]["initContainers"] = json!([]);
    assert_eq!(
        world
            .causes(Webhook::Validate, &create(&pod))
            .len(),
        1
    );
}

#[test]
fn a_pod_of_an_agent_that_does_not_exist_is_refused() {
    let world = World::default();
    assert_snapshot!(
        world
            .causes(Webhook::Mutate, &create(&agent_pod()))
            .join("\n")
    );
    let mut pod = agent_pod();
    belongs_to_tool(&mut pod);
    pod["spec"]["containers"][0]["image"] = json!("agentkube.invalid/tool");
    assert_snapshot!(
        world
            .causes(Webhook::Mutate, &create(&pod))
            .join("\n")
    );
}

#[test]
fn a_placeholder_that_cannot_be_replaced_is_refused() {
    let refused = |world: World, image: &str, mut pod: Value| {
        pod["spec"]["containers"][0]["image"] = json!(image);
        world
            .causes(Webhook::Mutate, &create(&pod))
            .join("\n")
    };
    let nobodys = {
        let mut pod = agent_pod();
        pod["metadata"] = json!({"name": "p", "namespace": "team"});
        pod
    };
    let labelled = {
        let mut pod = nobodys.clone();
        pod["metadata"]["labels"] = json!({"agentkube.io/agent": "bot"});
        pod
    };
    let tool = {
        let mut pod = nobodys.clone();
        belongs_to_tool(&mut pod);
        pod
    };
    let agent = agent_pod();
    let postgres = World::default().tool(&json!({"type": "postgres"}));
    for (image, pod) in [
        ("agentkube.invalid/agent", &nobodys),
        ("agentkube.invalid/codx", &nobodys),
        ("agentkube.invalid/custom", &nobodys),
    ] {
        assert_snapshot!(refused(World::default(), image, pod.clone()));
    }
    let world = World::default().agent(&claude());
    assert_snapshot!(
        "the_pod_of_somebody_else",
        refused(world, "agentkube.invalid/agent", labelled)
    );
    assert_snapshot!(refused(postgres, "agentkube.invalid/tool", tool));
    let custom = World::default().agent(&json!({"runtime": "Custom"}));
    assert_snapshot!(refused(custom, "agentkube.invalid/agent", agent.clone()));
    let invalid = World::default().agent(&json!({"runtime": "Custom", "image": "A B"}));
    assert_snapshot!(refused(invalid, "agentkube.invalid/agent", agent.clone()));
    let circle = json!({"runtime": "Custom", "image": "agentkube.invalid/codex"});
    let circle = World::default().agent(&circle);
    assert_snapshot!(refused(circle, "agentkube.invalid/agent", agent));
}

#[test]
fn a_pod_without_metadata_gets_some_for_the_record() {
    let pod = json!({"spec": {"containers": [{"name": "a", "image": "agentkube.invalid/codex"}]}});
    let (patched, _) = World::default().mutate(&create(&pod));
    assert!(patched["metadata"]["annotations"]["agentkube.io/images"].is_string());
}

#[test]
fn a_placeholder_that_is_left_over_is_refused_by_validation() {
    let world = World::default().agent(&claude());
    assert_snapshot!(
        world
            .causes(Webhook::Validate, &create(&agent_pod()))
            .join("\n")
    );
}

#[test]
fn a_mirror_pod_is_left_alone() {
    let mut pod = agent_pod();
    pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    let (patched, _) = World::default().mutate(&create(&pod));
    assert_eq!(patched, pod);
    assert!(
        World::default()
            .causes(Webhook::Validate, &create(&pod))
            .is_empty()
    );
}

#[test]
fn a_label_is_never_put_into_a_request_unchecked() {
    let mut pod = agent_pod();
    pod["metadata"]["labels"] = json!({"agentkube.io/agent": "../../secrets/x"});
    let body = create(&pod).to_string();
    let review = Review::parse(body.as_bytes()).expect("a review");
    assert_eq!(review.wants(Webhook::Mutate).agent, None);
}

#[test]
fn the_state_that_the_pod_was_built_from_is_wanted() {
    let mut pod = agent_pod();
    pod["metadata"]["annotations"] = json!({"agentkube.io/agent-generation": "7"});
    let body = create(&pod).to_string();
    let review = Review::parse(body.as_bytes()).expect("a review");
    let wanted = review
        .wants(Webhook::Mutate)
        .agent
        .expect("an Agent is wanted");
    let state = ObjectState {
        uid: UID,
        generation: 7,
    };
    assert_eq!((wanted.name, wanted.state), ("bot", Some(state)));
    let wanted = review
        .wants(Webhook::Validate)
        .agent
        .expect("an Agent is wanted");
    assert_eq!(wanted.state, None, "nothing is filled any more");
}

/// The code and the message that a pod is turned away with.
fn turned_away(world: &World, review: &Value) -> String {
    let response = world.ask(Webhook::Mutate, review);
    assert_eq!(response["allowed"], json!(false), "{response}");
    assert!(response["patch"].is_null(), "{response}");
    let status = &response["status"];
    format!(
        "{} {}: {}",
        status["code"],
        status["reason"]
            .as_str()
            .unwrap_or_default(),
        status["message"]
            .as_str()
            .unwrap_or_default()
    )
}

#[test]
fn a_pod_is_filled_from_exactly_the_state_that_it_was_built_from() {
    let agent = World::default().agent(&claude());
    let mut messages = Vec::new();
    for generation in ["2", "4"] {
        let mut pod = agent_pod();
        pod["metadata"]["annotations"]["agentkube.io/agent-generation"] = json!(generation);
        messages.push(turned_away(&agent, &create(&pod)));
    }
    let mut recreated = agent_pod();
    recreated["metadata"]["ownerReferences"][0]["uid"] = json!("another");
    messages.push(turned_away(&agent, &create(&recreated)));

    let mut going = World::default().agent(&claude());
    if let Some(facts) = &mut going.agent {
        facts.is_being_deleted = true;
    }
    messages.push(turned_away(&going, &create(&agent_pod())));

    let tool = World::default().tool(&json!({"type": "custom", "image": "quay.io/team/t:v1"}));
    let mut pod = agent_pod();
    belongs_to_tool(&mut pod);
    pod["spec"]["containers"][0]["image"] = json!("agentkube.invalid/tool");
    pod["metadata"]["annotations"]["agentkube.io/tool-generation"] = json!("2");
    messages.push(turned_away(&tool, &create(&pod)));
    assert_snapshot!(messages.join("\n"));
}

#[test]
fn an_owner_is_told_by_the_controller_in_whatever_group_version_and_by_no_other_reference() {
    let filled = |reference: Value| {
        let mut pod = agent_pod();
        pod["metadata"]["ownerReferences"] = json!([reference]);
        World::default()
            .agent(&claude())
            .causes(Webhook::Mutate, &create(&pod))
            .is_empty()
    };
    let with = |member: &str, value: Value| {
        let mut reference = controller("Agent", "bot");
        reference[member] = value;
        reference
    };
    assert!(filled(controller("Agent", "bot")));
    assert!(filled(with("apiVersion", json!("agentkube.io/v2"))));
    assert!(!filled(with("apiVersion", json!("example.com/v1alpha1"))));
    assert!(!filled(with("apiVersion", json!("agentkube.io"))));
    assert!(!filled(with("kind", json!("Tool"))));
    assert!(!filled(with("name", json!("other"))));
    assert!(!filled(with("controller", json!(false))));
    assert!(!filled(with("controller", Value::Null)));
}

#[test]
fn without_the_generation_that_it_was_built_from_a_pod_is_not_filled() {
    for annotations in [
        Value::Null,
        json!({}),
        json!({"agentkube.io/agent-generation": "three"}),
        json!({"agentkube.io/tool-generation": "3"}),
    ] {
        let mut pod = agent_pod();
        pod["metadata"]["annotations"] = annotations;
        let causes = World::default()
            .agent(&claude())
            .causes(Webhook::Mutate, &create(&pod));
        assert_eq!(causes.len(), 1, "{causes:?}");
    }
}

#[test]
fn a_pod_stays_an_agents_whatever_is_taken_off_it() {
    let world = World::with_env(&[("AGENTKUBE_ALLOWED_REGISTRIES", "docker.io")]).agent(&claude());
    let (old, _) = world.mutate(&create(&agent_pod()));
    let strange = |pod: &mut Value| {
        pod["spec"]["containers"][0]["image"] = json!("quay.io/evil/x:v1");
    };
    let unlabelled = |pod: &mut Value| {
        pod["metadata"]
            .as_object_mut()
            .expect("metadata")
            .remove("labels");
    };
    let orphaned = |pod: &mut Value| {
        pod["metadata"]
            .as_object_mut()
            .expect("metadata")
            .remove("ownerReferences");
    };
    let relabelled = |pod: &mut Value| {
        pod["metadata"]["labels"]["agentkube.io/agent"] = json!("other");
    };
    let going = |pod: &mut Value| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-11-01T00:00:00Z");
    };
    let refused = |changes: &[&dyn Fn(&mut Value)]| {
        let mut pod = old.clone();
        for change in changes {
            change(&mut pod);
        }
        let review = review("pods", "UPDATE", &pod, Some(&old));
        let mut reasons = Vec::new();
        for webhook in [Webhook::Mutate, Webhook::Validate] {
            let causes = world.causes(webhook, &review);
            reasons.push(
                causes
                    .iter()
                    .filter_map(|cause| cause.split(' ').next())
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
                    .join(" "),
            );
        }
        assert_eq!(reasons[0], reasons[1], "both webhooks say the same");
        reasons.remove(0)
    };
    assert_eq!(refused(&[&strange]), "RegistryNotAllowed");
    assert_eq!(
        refused(&[&strange, &unlabelled]),
        "OwnerMismatch RegistryNotAllowed"
    );
    assert_eq!(refused(&[&strange, &orphaned]), "RegistryNotAllowed");
    assert_eq!(
        refused(&[&strange, &unlabelled, &orphaned]),
        "OwnerMismatch RegistryNotAllowed"
    );
    assert_eq!(refused(&[&strange, &going]), "RegistryNotAllowed");
    assert_eq!(refused(&[&relabelled]), "OwnerMismatch");
    assert_eq!(refused(&[&unlabelled]), "OwnerMismatch");
    assert_eq!(
        refused(&[&orphaned]),
        "",
        "the garbage collector orphans pods"
    );
    assert_eq!(refused(&[&going]), "");
}

#[test]
fn an_update_changes_images_only_and_only_where_they_changed() {
    let world = World::default().agent(&claude());
    let (old, _) = world.mutate(&create(&agent_pod()));
    let mut labelled = old.clone();
    labelled["metadata"]["labels"]["team"] = json!("support");
    let gone = World::default();
    assert_eq!(
        gone.mutate(&review("pods", "UPDATE", &labelled, Some(&old)))
            .0,
        labelled
    );

    let mut changed = old.clone();
    changed["spec"]["containers"][0]["image"] = json!("agentkube.invalid/codex");
    let (pod, response) = world.mutate(&review("pods", "UPDATE", &changed, Some(&old)));
    assert_eq!(
        images(&pod)[0],
        "agent docker.io/adaptivelive/codex:v0.3.0 IfNotPresent"
    );
    assert_json_snapshot!(response["patch"]);
}

/// What a pod's images become where its namespace asks for it.
fn rewritten(world: &World, pod: &Value) -> Value {
    let response = world.ask(Webhook::RewriteDefaults, &create(pod));
    assert_eq!(response["allowed"], json!(true), "{response}");
    let Some(patch) = response["patch"].as_str() else {
        return pod.clone();
    };
    apply(pod, patch)
}

#[test]
fn default_images_that_somebody_wrote_follow_the_levers_where_it_is_asked_for() {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "job", "namespace": "team"},
        "spec": {
            "containers": [
                {"name": "codex", "image": "adaptivelive/codex:v0.2.0", "imagePullPolicy": "IfNotPresent"},
                {"name": "goose", "image": "docker.io/adaptivelive/goose", "imagePullPolicy": "Always"},
                {"name": "web", "image": "nginx:1.27", "imagePullPolicy": "IfNotPresent"},
            ],
            "volumes": [{"name": "cli", "image": {"reference": "adaptivelive/cursor:v1"}}],
        }
    });
    let world = World::with_env(&[
        ("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com/mirror"),
        ("AGENTKUBE_IMAGE_GOOSE", "quay.io/team/goose:v9"),
        ("AGENTKUBE_PULL_SECRETS", "mirror"),
    ]);
    let once = rewritten(&world, &pod);
    assert_json_snapshot!(once);
    assert_eq!(
        rewritten(&world, &once),
        once,
        "a second pass changes nothing"
    );
    assert_eq!(rewritten(&World::default(), &pod), pod, "no lever is set");
    let (mutated, _) = world.mutate(&create(&pod));
    assert_eq!(
        mutated, pod,
        "nothing is rewritten where it was not asked for"
    );

    let mut owned = pod.clone();
    owned["metadata"]["labels"] = json!({"agentkube.io/agent": "bot"});
    assert_eq!(
        rewritten(&world, &owned),
        owned,
        "an Agent's own image stays verbatim"
    );
}

/// The pod of an Agent with so many containers.
fn crowded(containers: usize) -> Value {
    let mut pod = agent_pod();
    pod["spec"]["containers"] = (0..containers)
        .map(|index| json!({"name": format!("c{index}"), "image": "agentkube.invalid/agent"}))
        .collect();
    pod
}

#[test]
fn a_thousand_containers_are_filled_in() {
    let (pod, _) = World::default()
        .agent(&claude())
        .mutate(&create(&crowded(1_000)));
    let images = images(&pod);
    assert_eq!(images.len(), 1_001);
    assert!(
        images
            .iter()
            .all(|image| image.contains("docker.io/adaptivelive/")),
        "{images:?}"
    );
}

#[test]
fn more_containers_than_are_read_are_refused_with_the_limit() {
    let body = create(&crowded(MOST_ENTRIES + 1)).to_string();
    let Err(Unreadable::Request(refused)) = Review::parse(body.as_bytes()) else {
        panic!("it is read");
    };
    let message = refused.denial.message();
    assert!(
        message.contains("the object cannot be read: a list has more than 1024 entries"),
        "{message}"
    );
}
