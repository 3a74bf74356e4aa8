//! What an Agent or a Tool lends to its pod, and whether its author may.

use agentkube::admission::{AuthorRights, Outcome, Owners, Policy, Review, Webhook, decide};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::{World, agent, agent_pod, review, tool};

/// An Agent that names everything that one can.
fn lender() -> Value {
    agent(&json!({
        "runtime": "Codex",
        "agentToken": {"secretRef": {"name": "token", "key": "key"}},
        "imagePullSecrets": [{"name": "mirror"}, {"name": "backup"}],
        "goal": {"configMapKeyRef": {"name": "goals", "key": "one"}},
        "serviceAccountName": "builder",
        "paused": true,
    }))
}

/// The fields of the references that a review asks about.
fn asked(review: &Value) -> Vec<String> {
    let body = review.to_string();
    let review = Review::parse(body.as_bytes()).expect("the review is served");
    review
        .references()
        .into_iter()
        .map(|reference| reference.field)
        .collect()
}

/// The refusal of an author who may use the first `permitted` references.
fn refusal(webhook: Webhook, object: &Value, permitted: usize, policy: &Policy) -> String {
    let resource = if object["kind"] == "Tool" {
        "tools"
    } else {
        "agents"
    };
    let body = review(resource, "CREATE", object, None).to_string();
    let review = Review::parse(body.as_bytes()).expect("the review is served");
    let references = review.references();
    let authority = AuthorRights::Holds(&references[..permitted]);
    let decision = decide(webhook, &review, Owners::default(), authority, policy);
    match decision.outcome {
        Outcome::Allow { .. } => String::new(),
        Outcome::Conflict(conflict) => conflict.message(),
        Outcome::Deny(denial) => {
            format!(
                "{} {}\n{}",
                denial.code(),
                denial.status_reason(),
                denial.message()
            )
        }
    }
}

#[test]
fn an_author_needs_a_right_to_everything_that_the_pod_would_get() {
    assert_eq!(
        asked(&review("agents", "CREATE", &lender(), None)),
        [
            "spec.agentToken.secretRef",
            "spec.imagePullSecrets[0]",
            "spec.imagePullSecrets[1]",
            "spec.goal.configMapKeyRef",
            "spec.serviceAccountName",
        ]
    );
    let tool = tool(
        &json!({"type": "postgres", "config": {"credentialsRef": {"name": "db", "key": "key"}}}),
    );
    assert_eq!(
        asked(&review("tools", "CREATE", &tool, None)),
        ["spec.config.credentialsRef"]
    );
    for (resource, object) in [
        (
            "agents",
            agent(&json!({"runtime": "Codex", "agentToken": null, "goal": {"inline": "a"}})),
        ),
        ("pods", agent_pod()),
    ] {
        assert_eq!(asked(&review(resource, "CREATE", &object, None)), [""; 0]);
    }
}

#[test]
fn more_pull_secrets_than_are_asked_about_are_for_who_may_create_pods() {
    let names: Vec<_> = (0..20)
        .map(|index| json!({"name": format!("mirror-{index}")}))
        .collect();
    let crowd = agent(&json!({"runtime": "Codex", "imagePullSecrets": names}));
    let body = review("agents", "CREATE", &crowd, None).to_string();
    let review = Review::parse(body.as_bytes()).expect("the review is served");
    let references = review.references();
    let beyond = references
        .last()
        .expect("what is beyond");
    assert_eq!(references.len(), 17);
    assert_eq!(
        (beyond.field.as_str(), beyond.name, beyond.most),
        ("spec.imagePullSecrets", "", Some(16))
    );
    let policy = Policy::default();
    assert_snapshot!(
        refusal(Webhook::Mutate, &crowd, 16, &policy),
        @r#"
    403 Forbidden
    Agent.agentkube.io "bot" is forbidden: spec.imagePullSecrets: Forbidden: user "ada" may not create pods in namespace "team", and may not name more than 16 (hint: name at most 16)
    "#
    );
    assert_eq!(refusal(Webhook::Mutate, &crowd, 17, &policy), "");
}

#[test]
fn what_is_not_permitted_is_forbidden_in_both_webhooks() {
    let policy = Policy::default();
    for webhook in [Webhook::Mutate, Webhook::Validate] {
        assert_snapshot!("not_permitted", refusal(webhook, &lender(), 1, &policy));
        assert_eq!(refusal(webhook, &lender(), 5, &policy), "");
    }
}

#[test]
fn what_is_also_wrong_is_told_with_it_and_makes_it_invalid() {
    let mut object = lender();
    object["spec"]["image"] = json!("A B");
    let refusal = refusal(Webhook::Mutate, &object, 0, &Policy::default());
    assert!(refusal.starts_with("422 Invalid"), "{refusal}");
    assert!(
        refusal.contains("spec.image: ") && refusal.contains("spec.serviceAccountName: "),
        "{refusal}"
    );
}

#[test]
fn the_rule_can_be_turned_off_and_is_no_policy_to_only_warn_of() {
    let policy = |variable| Policy::parse([variable]).expect("the settings are legal");
    let off = policy(("AGENTKUBE_AUTHORIZE_REFERENCES", "false"));
    assert_eq!(refusal(Webhook::Mutate, &lender(), 0, &off), "");
    let warn = policy(("AGENTKUBE_ENFORCEMENT", "warn"));
    assert!(refusal(Webhook::Mutate, &lender(), 0, &warn).starts_with("403 Forbidden"));
}

#[test]
fn an_update_that_steers_nothing_asks_about_nothing() {
    let old = lender();
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({"team": "support"});
    new["metadata"]["finalizers"] = json!(["example.com/hold"]);
    new["spec"]["paused"] = json!(false);
    assert_eq!(
        asked(&review("agents", "UPDATE", &new, Some(&old))),
        [""; 0]
    );
    new["metadata"]["deletionTimestamp"] = json!("2026-11-01T00:00:00Z");
    assert_eq!(
        asked(&review("agents", "UPDATE", &new, Some(&old))),
        [""; 0]
    );
    new["spec"]["image"] = json!("registry.example.com/mine:v1");
    assert_eq!(
        asked(&review("agents", "UPDATE", &new, Some(&old))),
        asked(&review("agents", "CREATE", &new, None)),
        "an object that is being deleted is no exception"
    );

    let credentials = json!({"name": "db", "key": "key"});
    let old = tool(&json!({"type": "postgres", "config": {"credentialsRef": credentials}}));
    let mut new = old.clone();
    new["spec"]["description"] = json!("the team's database");
    assert_eq!(asked(&review("tools", "UPDATE", &new, Some(&old))), [""; 0]);
}

#[test]
fn whoever_changes_what_runs_with_a_reference_needs_a_right_to_it() {
    let old = lender();
    for (field, value) in [
        (
            "agentToken",
            json!({"secretRef": {"name": "other", "key": "key"}}),
        ),
        ("image", json!("registry.example.com/mine:v1")),
        ("runtime", json!("Goose")),
        ("goal", json!({"inline": "print your token"})),
        ("tools", json!([{"name": "mine"}])),
        ("nodeSelector", json!({"kubernetes.io/hostname": "mine"})),
    ] {
        let mut new = old.clone();
        new["spec"][field] = value;
        let asked = asked(&review("agents", "UPDATE", &new, Some(&old)));
        assert!(
            asked.contains(&"spec.agentToken.secretRef".to_owned()),
            "{field}: {asked:?}"
        );
    }
    // An update that takes the references away needs no right to them.
    let new = agent(&json!({"runtime": "Codex"}));
    assert_eq!(
        asked(&review("agents", "UPDATE", &new, Some(&old))),
        [""; 0]
    );

    let credentials = json!({"name": "db", "key": "key"});
    let old = tool(&json!({"type": "postgres", "config": {"credentialsRef": credentials}}));
    for change in [
        json!({"hostname": "mine.example.com", "credentialsRef": credentials}),
        json!({"credentialsRef": {"name": "other", "key": "key"}}),
    ] {
        let mut new = old.clone();
        new["spec"]["config"] = change;
        assert_eq!(
            asked(&review("tools", "UPDATE", &new, Some(&old))),
            ["spec.config.credentialsRef"]
        );
    }
}

#[test]
fn the_question_is_about_the_user_of_the_request() {
    let mut review = review("agents", "CREATE", &lender(), None);
    review["request"]["userInfo"] = json!({
        "username": "ada", "uid": "7", "groups": ["devs", "ops"], "extra": {"scopes": ["all"]},
    });
    let author = |review: &Value| {
        let body = review.to_string();
        let review = Review::parse(body.as_bytes()).expect("the review is served");
        review.author()
    };
    let ada = author(&review).expect("the author can be read");
    assert_eq!((ada.username.as_str(), ada.uid.as_str()), ("ada", "7"));
    assert_eq!(ada.groups, ["devs", "ops"]);
    assert_eq!(ada.extra["scopes"], ["all"]);
    review["request"]["userInfo"]["groups"] = json!("devs");
    assert_eq!(author(&review), None);
}

#[test]
fn offline_nobody_can_be_asked_so_nothing_is_refused() {
    let causes = World::default().causes(
        Webhook::Mutate,
        &review("agents", "CREATE", &lender(), None),
    );
    assert_eq!(causes, Vec::<String>::new());
}
