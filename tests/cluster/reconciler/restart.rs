//! What becomes of Agents and their pods when one manager goes and another one comes.

use anyhow::{Context, ensure};
use futures::StreamExt;
use k8s_openapi::api::{
    admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
    core::v1::Pod,
};
use kube::{
    Api, Resource,
    api::{DeleteParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};

use agentkube_playground::until;

use super::{armed, message, own_pod};
use crate::{
    cluster::{Cluster, LIMIT, Namespace, agent, condition, expect_refusal, images, tool},
    harness::{Test, tests},
};

pub(super) fn tests() -> Vec<Test> {
    tests![ControlPlane:
        a_manager_killed_at_work_leaves_nothing_that_the_next_does_not_finish,
        a_changed_override_shows_on_the_agent_until_its_pod_is_replaced,
        what_was_valid_once_can_be_labelled_released_and_deleted,
    ]
}

async fn a_manager_killed_at_work_leaves_nothing_that_the_next_does_not_finish(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let names = ["one", "two", "three", "four", "five", "six"];
    let mut manager = cluster.start_manager(&[]).await?;
    let ns = cluster.namespace("killed").await?;
    for name in names {
        ns.create(&agent(name, &json!({"runtime": "Codex"})))
            .await?;
    }
    for name in names {
        ns.wait_ready("Agent", name, "Paused")
            .await?;
    }
    // Armed all at once, so that at the first pod there is always something left to do.
    let pods: Api<Pod> = Api::namespaced(ns.client.clone(), &ns.name);
    let mut appearing = pods
        .watch(&WatchParams::default(), "0")
        .await?
        .boxed();
    let arm = names.map(async |name| {
        ns.patch("Agent", name, &json!({"spec": {"paused": false}}))
            .await
    });
    let (armed, ()) = futures::join!(futures::future::join_all(arm), async {
        while !matches!(
            appearing.next().await,
            None | Some(Ok(WatchEvent::Added(_)) | Err(_))
        ) {}
        manager.kill();
    });
    let before = ns.list("Pod", "").await?;
    ensure!(!before.is_empty(), "no pod appeared");
    // An Agent that comes back to admission while nobody is there is refused: armed below.
    let agents = ns.list("Agent", "").await?;
    let unfinished = agents
        .iter()
        .filter(|agent| agent["status"]["phase"] != "Running")
        .count();
    ensure!(
        unfinished > 0,
        "the manager was killed too late: {agents:?}"
    );

    let _next = cluster.start_manager(&[]).await?;
    for (name, result) in names.iter().zip(armed) {
        if result.is_err() {
            ns.patch("Agent", name, &json!({"spec": {"paused": false}}))
                .await?;
        }
    }
    for name in names {
        ns.wait_running(name).await?;
        own_pod(&ns, &format!("agentkube.io/agent={name}")).await?;
    }
    let after = ns.list("Pod", "").await?;
    ensure!(after.len() == names.len(), "too many pods: {after:?}");
    for pod in before {
        let uid = &pod["metadata"]["uid"];
        ensure!(
            after
                .iter()
                .any(|after| after["metadata"]["uid"] == *uid),
            "a pod of the first manager is gone: {pod}"
        );
    }
    Ok(())
}

async fn a_changed_override_shows_on_the_agent_until_its_pod_is_replaced(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    const NEW: &str = "registry.example.com/ours/codex:v9";
    let mut manager = cluster.start_manager(&[]).await?;
    let ns = cluster.namespace("override").await?;
    ns.create(&armed("bot", "Codex"))
        .await?;
    ns.create(&armed("other", "Goose"))
        .await?;
    ns.wait_running("bot").await?;
    ns.wait_running("other").await?;
    let old = ns
        .get("Pod", "bot")
        .await?
        .context("the pod is there")?;
    manager.stop().await;

    let _manager = cluster
        .start_manager(&[("AGENTKUBE_IMAGE_CODEX", NEW)])
        .await?;
    let is_current = |wanted: &'static str| {
        move |agent: &Value| condition(agent, "ImagesCurrent")["status"] == wanted
    };
    let outdated = ns
        .wait("Agent", "bot", "to be outdated", is_current("False"))
        .await?;
    insta::assert_snapshot!(
        "message_of_an_outdated_pod",
        message(&outdated, "ImagesCurrent").replace(&ns.name, "NAMESPACE")
    );
    ensure!(
        condition(&outdated, "Ready")["status"] == "True"
            && outdated["status"]["images"][0]["source"] == "default",
        "the status does not tell what runs: {outdated}"
    );
    let pod = ns.get("Pod", "bot").await?;
    ensure!(pod.as_ref() == Some(&old), "the pod was touched: {pod:?}");
    let other = ns
        .get("Agent", "other")
        .await?
        .context("the Agent is there")?;
    ensure!(
        is_current("True")(&other),
        "the variable is not about this runtime: {other}"
    );

    ns.delete("Pod", "bot").await?;
    let agent = ns
        .wait("Agent", "bot", "to be up to date", is_current("True"))
        .await?;
    ensure!(
        agent["status"]["images"][0]["image"] == NEW
            && agent["status"]["images"][0]["variable"] == "AGENTKUBE_IMAGE_CODEX",
        "{agent}"
    );
    let pod = ns
        .get("Pod", "bot")
        .await?
        .context("the pod is there")?;
    ensure!(images(&pod)[0].1 == NEW, "{pod}");
    Ok(())
}

async fn what_was_valid_once_can_be_labelled_released_and_deleted(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("ratchet").await?;
    forget::<MutatingWebhookConfiguration>(cluster).await?;
    forget::<ValidatingWebhookConfiguration>(cluster).await?;
    let spec = json!({"runtime": "Codex", "image": "https://example.com/codex", "paused": false});
    let mut invalid = agent("bot", &spec);
    invalid["metadata"]["finalizers"] = json!(["example.com/keep"]);
    create_unjudged(&ns, &invalid).await?;
    let mut invalid = tool("browser", &json!({"type": "custom", "image": "a b"}));
    invalid["metadata"]["finalizers"] = json!(["example.com/keep"]);
    create_unjudged(&ns, &invalid).await?;

    let _manager = cluster.start_manager(&[]).await?;
    let told = ns
        .wait_ready("Agent", "bot", "NotAccepted")
        .await?;
    ensure!(
        told["status"]["phase"] == "Failed"
            && condition(&told, "Accepted")["reason"] == "InvalidImage",
        "{told}"
    );
    let pods = ns.list("Pod", "").await?;
    ensure!(pods.is_empty(), "it has a pod: {pods:?}");
    ns.wait("Tool", "browser", "to be told", |tool| {
        condition(tool, "Accepted")["reason"] == "InvalidImage"
    })
    .await?;

    // What is left as it was is not judged again, ...
    for kind in ["Agent", "Tool"] {
        let name = if kind == "Agent" { "bot" } else { "browser" };
        ns.patch(
            kind,
            name,
            &json!({"metadata": {"labels": {"team": "blue"}}}),
        )
        .await
        .with_context(|| format!("{kind} cannot be labelled"))?;
        // ... and what is changed is.
        let worse = json!({"spec": {"image": "docker://example.com/x"}});
        match ns.patch(kind, name, &worse).await {
            Ok(_) => anyhow::bail!("{kind} was made worse"),
            Err(kube::Error::Api(status)) => {
                expect_refusal(&status, "InvalidImage", "spec.image")?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let leaving = async { ns.delete_all().await };
    let release = async {
        for (kind, name) in [("Agent", "bot"), ("Tool", "browser")] {
            ns.wait(kind, name, "to be on its way out", |object| {
                !object["metadata"]["deletionTimestamp"].is_null()
            })
            .await?;
            ns.patch(kind, name, &json!({"metadata": {"finalizers": null}}))
                .await
                .with_context(|| format!("{kind} cannot be released"))?;
        }
        anyhow::Ok(())
    };
    futures::try_join!(leaving, release)?;
    Ok(())
}

/// Deletes a registration, as if agentkube had not been installed.
async fn forget<K>(cluster: &Cluster) -> anyhow::Result<()>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let registrations: Api<K> = Api::all(cluster.client());
    registrations
        .delete("agentkube-manager", &DeleteParams::default())
        .await?;
    Ok(())
}

/// Creates an object, as soon as the API server has noticed that there are no registrations.
async fn create_unjudged(ns: &Namespace, object: &Value) -> anyhow::Result<()> {
    let mut last = String::new();
    let created = until("an object to be created unjudged", LIMIT, async || match ns
        .try_create(object)
        .await?
    {
        Ok(_) => Ok(Some(())),
        Err(status) => {
            last.clone_from(&status.message);
            Ok(None)
        }
    })
    .await;
    created.with_context(|| format!("last refusal: {last}"))
}
