//! What holds when a part is missing, late or in the way.

use anyhow::{Context, ensure};
use k8s_openapi::{
    api::admissionregistration::v1::{
        MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

use agentkube_playground::{Manager, Proxy, until};

use crate::{
    cluster::{Cluster, LIMIT, Namespace, agent, expect_refusal, images, pod, pod_of, tool},
    harness::{Test, tests},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane:
        the_crds_rules_hold_without_the_webhook,
        placeholders_fail_closed_without_a_manager_and_ordinary_pods_do_not_wait,
        validation_refuses_a_placeholder_that_mutation_never_saw,
        a_review_of_a_kind_that_is_not_served_is_refused,
        a_manager_without_crds_says_so_and_goes_on_once_they_are_there,
        a_stale_cache_never_decides,
    ]
}

const NAME: &str = "agentkube-manager";

fn placeholder() -> Value {
    json!({"containers": [{"name": "c", "image": "agentkube.invalid/codex"}]})
}

fn ordinary() -> Value {
    json!({"containers": [{"name": "c", "image": "nginx:1.27"}]})
}

/// Takes the registrations away.
pub(crate) async fn deregister(client: &Client) -> anyhow::Result<()> {
    let now = DeleteParams::default();
    Api::<MutatingWebhookConfiguration>::all(client.clone())
        .delete(NAME, &now)
        .await?;
    Api::<ValidatingWebhookConfiguration>::all(client.clone())
        .delete(NAME, &now)
        .await?;
    Ok(())
}

/// Puts the registrations back as they are shipped.
pub(crate) async fn register(cluster: &Cluster) -> anyhow::Result<()> {
    let port = cluster.webhook_port();
    cluster
        .installation
        .lock()
        .await
        .point_webhooks_at(port)
        .await
}

/// Waits until the API server has forgotten registrations that were deleted.
pub(crate) async fn wait_unregistered(ns: &Namespace) -> anyhow::Result<()> {
    until("the API server to forget the webhooks", LIMIT, async || {
        Ok(ns
            .try_create(&pod("probe", &json!({}), &placeholder()))
            .await?
            .ok())
    })
    .await?;
    Ok(())
}

async fn the_crds_rules_hold_without_the_webhook(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster.namespace("cel").await?;
    deregister(&cluster.client()).await?;
    wait_unregistered(&ns).await?;
    let both = json!({"inline": "a", "configMapKeyRef": {"name": "a", "key": "b"}});
    let long = "a".repeat(64);
    for (object, wanted) in [
        (
            agent("a", &json!({"runtime": "Custom"})),
            "spec.image: Required value: runtime Custom has no default image",
        ),
        (
            agent("a", &json!({"runtime": "Custom", "image": ""})),
            "spec.image: Required value",
        ),
        (
            agent("a", &json!({"runtime": "Custom", "image": null})),
            "spec.image: Required value",
        ),
        (
            agent("a", &json!({"runtime": "codex"})),
            "spec.runtime: Unsupported value",
        ),
        (
            agent("a", &json!({"runtime": "Codex", "goal": {}})),
            "exactly one of inline and configMapKeyRef",
        ),
        (
            agent("a", &json!({"runtime": "Codex", "goal": both})),
            "exactly one of inline and configMapKeyRef",
        ),
        (
            agent(&long, &json!({"runtime": "Codex"})),
            "metadata.name must be no more than 63 characters",
        ),
        (
            tool("a", &json!({"type": "custom"})),
            "spec.image: Required value: type custom has no default image",
        ),
        (
            tool("a", &json!({"type": "custom", "image": ""})),
            "spec.image: Required value",
        ),
    ] {
        let status = ns
            .refused(&object)
            .await
            .with_context(|| object.to_string())?;
        ensure!(
            status.code == 422 && status.message.contains(wanted),
            "{object}: {}",
            status.message
        );
    }
    ns.create(&agent("good", &json!({"runtime": "Codex"})))
        .await?;
    register(cluster).await
}

async fn placeholders_fail_closed_without_a_manager_and_ordinary_pods_do_not_wait(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("closed").await?;
    // With a manager once, so that the registrations are known to work.
    let mut manager = cluster.start_manager(&[]).await?;
    ns.create(&agent("bot", &json!({"runtime": "Codex"})))
        .await?;
    let served = ns
        .create(&pod("served", &json!({}), &placeholder()))
        .await?;
    manager.kill();

    let in_volume = json!({
        "containers": [{"name": "c", "image": "nginx:1.27"}],
        "volumes": [{"name": "cli", "image": {"reference": "agentkube.invalid/codex"}}],
    });
    let in_init = json!({
        "containers": [{"name": "c", "image": "nginx:1.27"}],
        "initContainers": [{"name": "i", "image": "agentkube.invalid/codex"}],
    });
    for object in [
        pod("a", &json!({}), &placeholder()),
        pod("a", &json!({}), &in_volume),
        pod("a", &json!({}), &in_init),
        pod("a", &json!({"agentkube.io/agent": "bot"}), &ordinary()),
        agent("a", &json!({"runtime": "Codex"})),
    ] {
        let status = ns
            .refused(&object)
            .await
            .with_context(|| object.to_string())?;
        ensure!(
            status
                .message
                .contains("failed calling webhook"),
            "{object}: {}",
            status.message
        );
    }
    ns.create(&pod("ordinary", &json!({}), &ordinary()))
        .await?;
    // What was decided stays, and is nobody's hostage: it can be labelled and deleted.
    let label = json!({"metadata": {"labels": {"team": "support"}}});
    ns.patch("Pod", "served", &label)
        .await?;
    ns.delete("Pod", "served").await?;
    ensure!(
        images(&served)[0].1 == "docker.io/adaptivelive/codex:v0.3.0",
        "{served}"
    );

    let kube_system = Namespace {
        client: cluster.client(),
        name: "kube-system".to_owned(),
    };
    let name = format!("closed-{}", ns.name);
    let created = kube_system
        .create(&pod(&name, &json!({}), &placeholder()))
        .await?;
    ensure!(
        images(&created)[0].1 == "agentkube.invalid/codex",
        "kube-system was touched: {created}"
    );
    kube_system.delete("Pod", &name).await
}

async fn validation_refuses_a_placeholder_that_mutation_never_saw(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("unmutated").await?;
    let _manager = cluster.start_manager(&[]).await?;
    let api = Api::<MutatingWebhookConfiguration>::all(cluster.client());
    api.delete(NAME, &DeleteParams::default())
        .await?;
    let object = pod("a", &json!({}), &placeholder());
    let status = until("validation alone to answer", LIMIT, async || {
        Ok(match ns.try_create(&object).await? {
            Ok(_) => {
                ns.delete("Pod", "a").await?;
                None
            }
            Err(status) => Some(status),
        })
    })
    .await;
    register(cluster).await?;
    let status = status?;
    expect_refusal(&status, "UnresolvedPlaceholder", "spec.containers[0].image")?;
    ensure!(
        status
            .message
            .contains("MutatingWebhookConfiguration agentkube-manager"),
        "{}",
        status.message
    );
    Ok(())
}

async fn a_review_of_a_kind_that_is_not_served_is_refused(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster
        .namespace("misregistered")
        .await?;
    let manager = cluster.start_manager(&[]).await?;
    let ours = Api::<ValidatingWebhookConfiguration>::all(cluster.client());
    let shipped = ours.get(NAME).await?;
    let client_config = shipped
        .webhooks
        .iter()
        .flatten()
        .next()
        .context("a webhook")?
        .client_config
        .clone();
    let too_wide: ValidatingWebhookConfiguration = serde_json::from_value(json!({
        "metadata": {"name": "too-wide"},
        "webhooks": [{
            "name": "too-wide.example.com",
            "clientConfig": client_config,
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ns.name}},
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
        }],
    }))?;
    ours.create(&PostParams::default(), &too_wide)
        .await?;
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let status = until("the registration to be followed", LIMIT, async || {
        Ok(match ns.try_create(&object).await? {
            Ok(_) => {
                // A deletion is never refused, however wide a registration is.
                ns.delete("ConfigMap", "a").await?;
                None
            }
            Err(status) => Some(status),
        })
    })
    .await;
    ours.delete("too-wide", &DeleteParams::default())
        .await?;
    expect_refusal(&status?, "MalformedReview", "request.resource")?;
    ensure!(
        manager
            .metrics()
            .await?
            .contains(r#"reason="MalformedReview""#),
        "it is not counted"
    );
    Ok(())
}

async fn a_manager_without_crds_says_so_and_goes_on_once_they_are_there(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(cluster.client());
    for name in [
        "agents.agentkube.io",
        "rejections.agentkube.io",
        "tools.agentkube.io",
    ] {
        crds.delete(name, &DeleteParams::default())
            .await?;
    }
    until("the CRDs to go", LIMIT, async || {
        let left = crds
            .list(&kube::api::ListParams::default())
            .await?;
        Ok(left.items.is_empty().then_some(()))
    })
    .await?;
    let manager = Manager::spawn(&cluster.control_plane, cluster.manager_options(&[])).await?;
    until("the manager to say what is missing", LIMIT, async || {
        let log = manager.log();
        Ok(
            (log.contains("kubectl apply -k manifests/") && log.contains("the watch failed"))
                .then_some(()),
        )
    })
    .await?;

    let said = cluster
        .kubectl(
            &[
                "apply",
                "--filename",
                concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/crds"),
            ],
            "",
        )
        .await?;
    ensure!(said.success, "{said:?}");
    cluster
        .installation
        .lock()
        .await
        .until_webhooks_answer()
        .await?;
    let ns = cluster.namespace("crds").await?;
    ns.create(&agent("bot", &json!({"runtime": "Codex", "paused": false})))
        .await?;
    ns.wait_running("bot").await?;
    let complaints = manager
        .log()
        .matches("the watch failed")
        .count();
    ensure!(
        complaints <= 5,
        "the fault is named {complaints} times:\n{}",
        manager.log()
    );
    Ok(())
}

async fn a_stale_cache_never_decides(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster.namespace("stale").await?;
    let proxy = Proxy::start(&cluster.control_plane).await?;
    let kubeconfig = proxy
        .kubeconfig(&cluster.control_plane, "proxied")
        .await?;
    let manager = cluster
        .start_manager(&[("KUBECONFIG", &kubeconfig)])
        .await?;
    let image = |version: &str| format!("registry.example.com/team/bot:{version}");
    let old = ns
        .create(&agent(
            "bot",
            &json!({"runtime": "Codex", "image": image("v1")}),
        ))
        .await?;
    let spec = json!({"containers": [{"name": "agent", "image": "agentkube.invalid/agent"}]});
    let image_of = async |owner: &Value, name: &str| -> anyhow::Result<String> {
        let created = ns
            .create(&pod_of(owner, name, &spec))
            .await?;
        Ok(images(&created)[0].1.clone())
    };
    // From here on the manager hears nothing new of Agents.
    ns.wait("Agent", "bot", "to be known", |agent| {
        agent["status"]["phase"] == "Paused"
    })
    .await?;
    proxy.freeze_watches();
    ns.patch("Agent", "bot", &json!({"spec": {"image": image("v2")}}))
        .await?;
    let new = ns
        .get("Agent", "bot")
        .await?
        .context("the Agent")?;
    let young = ns
        .create(&agent("young", &json!({"runtime": "Goose"})))
        .await?;

    ensure!(
        image_of(&old, "old").await? == image("v1"),
        "the cache is not stale, so this test shows nothing"
    );
    ensure!(
        image_of(&new, "new").await? == image("v2"),
        "a stale cache has decided"
    );
    ensure!(
        image_of(&young, "young").await? == "docker.io/adaptivelive/goose:v0.3.0",
        "an Agent that the cache does not know"
    );
    let status = ns
        .refused(&pod("x", &json!({"agentkube.io/agent": "nobody"}), &spec))
        .await?;
    expect_refusal(
        &status,
        "UnknownAgent",
        "metadata.labels[agentkube.io/agent]",
    )?;

    // Not even reads are answered: each request ends within its own deadline, with the word to try
    // again. The client does, and gets the answer as soon as there is one.
    proxy.freeze_everything();
    let late = pod("late", &json!({"agentkube.io/agent": "somebody"}), &spec);
    let said = until("the manager to say what it waits for", LIMIT, async || {
        let log = manager.log();
        Ok(log
            .contains("the API server did not return")
            .then(|| proxy.thaw()))
    });
    let (status, said) = tokio::join!(ns.refused(&late), said);
    said?;
    expect_refusal(
        &status?,
        "UnknownAgent",
        "metadata.labels[agentkube.io/agent]",
    )
}
