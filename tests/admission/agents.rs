//! Agents and Tools.

use agentkube::admission::{Review, Webhook};
use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};

use crate::support::{World, agent, review, tool};

/// The causes of a denial; both webhooks must give the same.
fn causes(resource: &str, object: &Value) -> String {
    let world = World::default();
    let review = review(resource, "CREATE", object, None);
    let causes = world.causes(Webhook::Mutate, &review);
    assert_eq!(causes, world.causes(Webhook::Validate, &review));
    causes.join("\n")
}

fn warnings(world: &World, resource: &str, object: &Value) -> Value {
    let response = world.ask(Webhook::Mutate, &review(resource, "CREATE", object, None));
    assert_eq!(response["allowed"], json!(true), "{response}");
    response["warnings"].clone()
}

fn token() -> Value {
    json!({"secretRef": {"name": "token", "key": "token"}})
}

#[test]
fn a_good_agent_is_admitted_without_a_word() {
    let object = agent(&json!({"runtime": "ClaudeCode", "agentToken": token()}));
    let response =
        World::default().ask(Webhook::Mutate, &review("agents", "CREATE", &object, None));
    assert_json_snapshot!(response, @r#"
    {
      "allowed": true,
      "auditAnnotations": {
        "decision": "allow"
      },
      "uid": "6b2f2a2e-0000-4000-8000-000000000001"
    }
    "#);
}

#[test]
fn a_custom_agent_needs_an_image() {
    let object = agent(&json!({"runtime": "Custom"}));
    let response =
        World::default().ask(Webhook::Mutate, &review("agents", "CREATE", &object, None));
    assert_json_snapshot!(response);
}

#[test]
fn an_unknown_runtime_is_answered_with_the_nearest_one() {
    assert_snapshot!(causes("agents", &agent(&json!({"runtime": "claude-code"}))));
    assert_snapshot!(causes("agents", &agent(&json!({"runtime": 5}))));
    assert_snapshot!(causes("agents", &agent(&json!({}))));
}

#[test]
fn every_problem_is_named_at_once() {
    let object = agent(&json!({
        "runtime": "Codx",
        "image": "https://registry.example.com/codex:v1",
        "imagePullSecrets": [{"name": "mirror"}, {"name": " "}],
        "agentToken": {"secretRef": {"name": "Token"}},
    }));
    assert_snapshot!(causes("agents", &object));
}

#[test]
fn an_image_must_be_a_reference() {
    for image in [
        json!(""),
        json!(" "),
        json!("Foo/bar:"),
        json!("nginx@sha256:short"),
        json!(5),
        json!("a b"),
        json!("agentkube.invalid/codex"),
    ] {
        let causes = causes(
            "agents",
            &agent(&json!({"runtime": "Codex", "image": image})),
        );
        assert!(
            causes.starts_with("InvalidImage spec.image: "),
            "{image}: {causes}"
        );
    }
}

#[test]
fn a_blank_image_of_a_custom_agent_is_one_problem() {
    for image in ["", "  "] {
        let causes = causes(
            "agents",
            &agent(&json!({"runtime": "Custom", "image": image})),
        );
        assert!(causes.starts_with("ImageRequired"), "{causes}");
        assert_eq!(causes.lines().count(), 1, "{causes}");
    }
}

#[test]
fn a_pasted_credential_is_never_repeated() {
    let secret = "sk-example-0123456789abcdefghijABCDEF";
    for spec in [
        json!({"runtime": secret}),
        json!({"runtime": "Codex", "image": format!("robot:{secret}@registry.example.com/codex")}),
        json!({"runtime": "Codex", "agentToken": {"secretRef": {"name": secret, "key": "token"}}}),
        json!({"runtime": "Codex", "agentToken": {"secretRef": {"name": "token", "key": secret}}}),
        json!({"runtime": "Codex", "agentToken": token(), "imagePullSecrets": [{"name": secret}]}),
    ] {
        let response = World::default().ask(
            Webhook::Mutate,
            &review("agents", "CREATE", &agent(&spec), None),
        );
        assert_eq!(response["allowed"], json!(false), "{response}");
        assert!(!response.to_string().contains(secret), "{response}");
    }
}

#[test]
fn authors_are_warned_of_what_is_legal_but_unwise() {
    let mirrored = World::with_env(&[("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com/mirror")]);
    let no_token = agent(&json!({"runtime": "ClaudeCode"}));
    let custom =
        agent(&json!({"runtime": "Custom", "image": "quay.io/team/agent", "agentToken": token()}));
    assert_json_snapshot!(warnings(&mirrored, "agents", &no_token));
    assert_json_snapshot!(warnings(&mirrored, "agents", &custom));
    let inside = json!({"runtime": "Custom", "image": "registry.example.com/mirror/agent:v1"});
    assert_json_snapshot!(warnings(&mirrored, "agents", &agent(&inside)), @"null");
}

#[test]
fn tools_are_judged_by_type_image_and_credentials() {
    assert_snapshot!(causes("tools", &tool(&json!({"type": "custom"}))));
    assert_snapshot!(causes("tools", &tool(&json!({"type": "postgresql"}))));
    assert_snapshot!(causes(
        "tools",
        &tool(&json!({"type": "postgres", "config": {"credentialsRef": {"key": "a/b"}}}))
    ));
    assert_eq!(causes("tools", &tool(&json!({"type": "postgres"}))), "");
}

#[test]
fn an_update_that_leaves_the_judged_fields_alone_is_admitted() {
    let bad = agent(&json!({"runtime": "Custom", "paused": true}));
    let mut labelled = bad.clone();
    labelled["metadata"]["labels"] = json!({"team": "support"});
    labelled["spec"]["paused"] = json!(false);
    let world = World::default();
    for webhook in [Webhook::Mutate, Webhook::Validate] {
        let ratcheted = review("agents", "UPDATE", &labelled, Some(&bad));
        assert_eq!(world.causes(webhook, &ratcheted), Vec::<String>::new());
    }
    let mut worse = bad.clone();
    worse["spec"]["image"] = json!("A B");
    assert_eq!(
        world
            .causes(
                Webhook::Mutate,
                &review("agents", "UPDATE", &worse, Some(&bad))
            )
            .len(),
        1
    );
}

#[test]
fn an_object_that_is_being_deleted_is_judged_by_what_changes() {
    let going = |spec: Value, finalizers: Value| {
        let mut object = agent(&spec);
        object["metadata"]["deletionTimestamp"] = json!("2026-11-01T00:00:00Z");
        object["metadata"]["finalizers"] = finalizers;
        object
    };
    let bad = json!({"runtime": "nonsense"});
    let causes = |new: &Value, old: &Value| {
        World::default().causes(Webhook::Mutate, &review("agents", "UPDATE", new, Some(old)))
    };
    let held = going(bad.clone(), json!(["example.com/hold"]));
    assert_eq!(
        causes(&going(bad.clone(), json!([])), &held),
        Vec::<String>::new(),
        "its finalizers can go"
    );
    let old = going(json!({"runtime": "Codex"}), json!(["example.com/hold"]));
    assert_eq!(causes(&held, &old).len(), 1);
}

#[test]
fn a_field_that_is_too_long_to_be_judged_is_refused() {
    for spec in [
        json!({"runtime": vec![json!({"": 0}); 1_000]}),
        json!({"runtime": "Codex", "image": "x".repeat(5_000)}),
        json!({"runtime": "Codex", "imagePullSecrets": vec![json!({"name": "n"}); 4_000]}),
    ] {
        let body = review("agents", "CREATE", &agent(&spec), None).to_string();
        assert!(Review::parse(body.as_bytes()).is_err(), "{body:.80}");
    }
    // As many secrets as the schema allows, with names as long as they can be.
    let secrets = vec![json!({"name": "n".repeat(253)}); 64];
    let body = review(
        "agents",
        "CREATE",
        &agent(&json!({"runtime": "Codex", "imagePullSecrets": secrets})),
        None,
    )
    .to_string();
    assert!(Review::parse(body.as_bytes()).is_ok());
}

#[test]
fn a_spec_that_is_too_large_is_refused_and_may_stay_what_it_was() {
    let of = |bytes: usize, paused: bool| {
        let key = "k".repeat(bytes);
        agent(
            &json!({"runtime": "Codex", "agentToken": token(), "paused": paused, "nodeSelector": {key: "v"}}),
        )
    };
    let small = of(1024, true);
    let large = of(128 * 1024, true);
    assert_snapshot!(causes("agents", &large), @"SpecTooLarge spec: Too long: may not be more than 131072 bytes (hint: move long values to a place that the agent can read, such as a ConfigMap or the image)");
    let world = World::default();
    let is_admitted = |new: &Value, old: &Value| {
        let response = world.ask(Webhook::Mutate, &review("agents", "UPDATE", new, Some(old)));
        response["allowed"] == json!(true)
    };
    assert!(is_admitted(&large, &large), "labels can be changed");
    assert!(is_admitted(&small, &large), "it can become smaller");
    assert!(is_admitted(&of(128 * 1024 - 9, false), &large));
    assert!(!is_admitted(&large, &small), "it cannot become so");
    assert!(!is_admitted(&of(129 * 1024, true), &large), "nor larger");
    let harmless = json!({"type": "redis", "description": "d".repeat(128 * 1024)});
    assert!(causes("tools", &tool(&harmless)).starts_with("SpecTooLarge spec: "));
}
