//! Pods that are as they should be cost one call and not two.

use agentkube_playground::{Manager, until};
use anyhow::{Context, ensure};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, LIMIT, REGISTRATION, agent, expect_refusal, pod_of},
    harness::{Test, tests},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane:
        only_suspects_come_to_the_validating_webhook,
        the_condition_follows_what_is_allowed_and_comes_back,
    ]
}

const WEBHOOK: &str = "validate.pods.agentkube.io";

async fn only_suspects_come_to_the_validating_webhook(cluster: &Cluster) -> anyhow::Result<()> {
    let manager = cluster.start_manager(&[]).await?;
    until_condition(cluster, |expression| {
        expression.contains("agentkube.invalid/") && !expression.contains("registry.example.com")
    })
    .await?;
    let ns = cluster.namespace("suspects").await?;
    let bot = ns
        .create(&agent("bot", &json!({"runtime": "Codex", "paused": true})))
        .await?;
    let of_bot = |containers: &Value| pod_of(&bot, "bot", &json!({"containers": containers}));
    // The API server's own copy of the registration may be a moment behind.
    until("a pod that is not validated", LIMIT, async || {
        let before = validated(&manager).await?;
        dry_run(cluster, &ns.name, &of_bot(&json!([clean("agent")]))).await?;
        Ok((validated(&manager).await? == before).then_some(()))
    })
    .await?;

    let before = validated(&manager).await?;
    // As much as the API server looks through.
    let many: Vec<_> = (0..16)
        .map(|index| {
            let env: Vec<_> = (0..128)
                .map(|index| json!({"name": format!("VARIABLE_{index}"), "value": "v"}))
                .collect();
            json!({"name": format!("c{index}"), "image": "agentkube.invalid/agent", "env": env})
        })
        .collect();
    dry_run(cluster, &ns.name, &of_bot(&json!(many))).await?;
    ensure!(
        validated(&manager).await? == before,
        "a large pod was validated"
    );

    let mut more = many;
    more.push(clean("one-more"));
    dry_run(cluster, &ns.name, &of_bot(&json!(more))).await?;
    ensure!(
        validated(&manager).await? == before + 1,
        "a pod that is too large to look through was not validated"
    );

    // Nothing was mutated, so nothing is known of it.
    dry_run(
        cluster,
        &ns.name,
        &of_bot(&json!([{"name": "c", "image": "nginx"}])),
    )
    .await?;
    ensure!(
        validated(&manager).await? == before + 2,
        "a pod that was not mutated was not validated"
    );
    let literal = json!({"name": "c", "image": "agentkube.invalid/agent", "env": [{"name": "OPENAI_API_KEY", "value": "v"}]});
    let status = ns
        .refused(&of_bot(&json!([literal])))
        .await?;
    ensure!(
        status
            .message
            .contains("OPENAI_API_KEY"),
        "{}",
        status.message
    );

    // With mutation out of the way a placeholder is still found.
    let mutating = "mutatingwebhookconfiguration";
    let said = cluster
        .kubectl(&["delete", mutating, REGISTRATION], "")
        .await?;
    ensure!(said.success, "{said:?}");
    let found = until("a placeholder that is found", LIMIT, async || {
        Ok(ns
            .try_create(&of_bot(&json!([clean("agent")])))
            .await?
            .err())
    })
    .await;
    cluster.apply_manifests().await?;
    expect_refusal(&found?, "UnresolvedPlaceholder", "spec.containers[0].image")
}

async fn the_condition_follows_what_is_allowed_and_comes_back(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let registry = "registry.example.com/mirror";
    let settings = [
        ("AGENTKUBE_ALLOWED_REGISTRIES", registry),
        ("AGENTKUBE_IMAGE_REGISTRY", registry),
    ];
    let _manager = cluster.start_manager(&settings).await?;
    let names_it = |expression: &str| expression.contains(&format!("'{registry}/'"));
    until_condition(cluster, names_it).await?;

    // Whoever applies the manifests again does not take it away.
    let ours = condition(cluster).await?;
    cluster.apply_manifests().await?;
    ensure!(
        condition(cluster).await? == ours,
        "applying the manifests changed the condition"
    );

    let registrations: Api<ValidatingWebhookConfiguration> = Api::all(cluster.client());
    let taken_away = json!({"webhooks": [{
        "name": WEBHOOK,
        "matchConditions": [{"$patch": "delete", "name": "is-suspect"}],
    }]});
    let without = registrations
        .patch(
            REGISTRATION,
            &PatchParams::default(),
            &Patch::Strategic(&taken_away),
        )
        .await?;
    ensure!(expression(&without).is_none(), "it was not taken away");
    until_condition(cluster, names_it).await
}

async fn until_condition(cluster: &Cluster, holds: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    until("the condition in the registration", LIMIT, async || {
        Ok(condition(cluster)
            .await?
            .filter(|expression| holds(expression))
            .map(|_| ()))
    })
    .await
}

async fn condition(cluster: &Cluster) -> anyhow::Result<Option<String>> {
    let registrations: Api<ValidatingWebhookConfiguration> = Api::all(cluster.client());
    Ok(expression(&registrations.get(REGISTRATION).await?))
}

fn expression(registration: &ValidatingWebhookConfiguration) -> Option<String> {
    registration
        .webhooks
        .iter()
        .flatten()
        .find(|webhook| webhook.name == WEBHOOK)?
        .match_conditions
        .iter()
        .flatten()
        .find(|condition| condition.name == "is-suspect")
        .map(|condition| condition.expression.clone())
}

fn clean(name: &str) -> Value {
    json!({"name": name, "image": "agentkube.invalid/agent"})
}

/// Creates a pod that stays nowhere.
async fn dry_run(cluster: &Cluster, namespace: &str, pod: &Value) -> anyhow::Result<()> {
    let arguments = [
        "create",
        "--dry-run=server",
        "--namespace",
        namespace,
        "--filename",
        "-",
    ];
    let said = cluster
        .kubectl(&arguments, &pod.to_string())
        .await?;
    ensure!(said.success, "{said:?}");
    Ok(())
}

/// How many pods were validated by this manager.
async fn validated(manager: &Manager) -> anyhow::Result<u64> {
    let metrics = manager.metrics().await?;
    let mut number = 0;
    for line in metrics.lines() {
        if line.starts_with("agentkube_reviews_total{webhook=\"validate\",kind=\"Pod\"") {
            let (_, count) = line
                .rsplit_once(' ')
                .context("a figure")?;
            number += count.parse::<u64>()?;
        }
    }
    Ok(number)
}
