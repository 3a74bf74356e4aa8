//! Objects that this version cannot read: they stop nobody but themselves.

use agentkube::api::{Agent, Tool};
use agentkube_playground::{Manager, until};
use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, LIMIT, Namespace, agent, condition, expect_refusal, pod, tool},
    faults::{deregister, wait_unregistered},
    generator::{Random, object, spec_schema},
    harness::{Test, tests},
};

pub(crate) fn tests() -> Vec<Test> {
    let mut all = tests![ControlPlane:
        a_rollback_beside_objects_of_the_newer_release_serves_all_others,
    ];
    all.extend(tests![Manager:
        what_the_api_server_stores_can_be_read,
    ]);
    all
}

/// How many objects the API server is asked about, of each kind.
const OBJECTS: u64 = 1_000;

/// A release that has one more runtime, and one more type of Tool.
async fn upgrade_crds(cluster: &Cluster) -> anyhow::Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(cluster.client());
    for (name, field) in [
        ("agents.agentkube.io", "runtime"),
        ("tools.agentkube.io", "type"),
    ] {
        let pointer = format!(
            "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/{field}/enum/-"
        );
        let patch: json_patch::Patch =
            serde_json::from_value(json!([{"op": "add", "path": pointer, "value": "Newer"}]))?;
        crds.patch(name, &PatchParams::default(), &Patch::Json::<()>(patch))
            .await?;
    }
    Ok(())
}

/// Creates what a newer release would have left behind.
async fn create_newer(ns: &Namespace) -> anyhow::Result<()> {
    for object in [
        agent("newer", &json!({"runtime": "Newer", "paused": false})),
        tool("newer", &json!({"type": "Newer"})),
    ] {
        until(
            "the API server to know the newer schema",
            LIMIT,
            async || Ok(ns.try_create(&object).await?.ok()),
        )
        .await?;
    }
    ns.create(&agent("told", &json!({"runtime": "Codex", "paused": true})))
        .await?;
    let status = json!({"status": {
        "phase": "Pending", "observedGeneration": 1,
        "images": [{"container": "agent", "component": "NoSuchComponent", "image": "x", "source": "default"}],
        "conditions": [{"type": "Newer", "status": "True", "reason": "Newer", "message": "", "lastTransitionTime": "2026-01-01T00:00:00+99:99"}],
    }});
    ns.api("Agent")
        .patch_status("told", &PatchParams::default(), &Patch::Merge(&status))
        .await?;
    Ok(())
}

async fn wait_metric(manager: &Manager, kind: &str, count: u32) -> anyhow::Result<()> {
    let line = format!("agentkube_unreadable_objects{{kind=\"{kind}\"}} {count}");
    until(&line, LIMIT, async || {
        Ok(manager
            .metrics()
            .await?
            .lines()
            .any(|found| found == line)
            .then_some(()))
    })
    .await
}

async fn a_rollback_beside_objects_of_the_newer_release_serves_all_others(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("rollback").await?;
    upgrade_crds(cluster).await?;
    deregister(&cluster.client()).await?;
    wait_unregistered(&ns).await?;
    create_newer(&ns).await?;

    let result = serve_beside(cluster, &ns).await;
    cluster.apply_manifests().await?;
    result
}

async fn serve_beside(cluster: &Cluster, ns: &Namespace) -> anyhow::Result<()> {
    let manager = cluster.start_manager(&[]).await?;
    // Everything else goes on: this replica is ready, leads, and serves.
    let good = json!({"runtime": "Codex", "paused": false, "agentToken": {"secretRef": {"name": "token", "key": "token"}}});
    ns.create(&agent("good", &good)).await?;
    ns.wait_running("good").await?;
    ns.wait("Agent", "told", "to be told anew", |told| {
        condition(told, "Accepted")["status"] == "True" && told["status"]["phase"] == "Paused"
    })
    .await?;

    // Those that cannot be read say so.
    for kind in ["Agent", "Tool"] {
        let told = ns
            .wait(kind, "newer", "to be told of", |object| {
                condition(object, "Accepted")["reason"] == "Unreadable"
            })
            .await?;
        let accepted = condition(&told, "Accepted");
        ensure!(accepted["status"] == "False", "{told}");
        let message = accepted["message"]
            .as_str()
            .unwrap_or_default();
        let field = if kind == "Agent" {
            "spec.runtime"
        } else {
            "spec.type"
        };
        ensure!(message.contains(field), "{message}");
        wait_metric(&manager, kind, 1).await?;
    }
    let log = manager.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("an object cannot be read") && line.contains("\"newer\""))
        .count();
    ensure!(lines == 2, "{lines} lines name them:\n{log}");
    let labelled = json!({"agentkube.io/agent": "newer"});
    let spec = json!({"containers": [{"name": "c", "image": "nginx:1.27"}]});
    let status = ns
        .refused(&pod("of-newer", &labelled, &spec))
        .await?;
    expect_refusal(&status, "Unreadable", "metadata.labels[agentkube.io/agent]")?;
    ensure!(
        status.message.contains("spec.runtime"),
        "{}",
        status.message
    );

    // Labels can be changed, and what is mended is taken up.
    let label = json!({"metadata": {"labels": {"team": "support"}}});
    ns.patch("Agent", "newer", &label)
        .await?;
    ns.patch("Agent", "newer", &json!({"spec": {"runtime": "Codex"}}))
        .await?;
    ns.wait_running("newer").await?;
    wait_metric(&manager, "Agent", 0).await?;
    ns.delete("Tool", "newer").await?;
    wait_metric(&manager, "Tool", 0).await
}

/// Creates an object that leaves nothing; the stored form, or the refusal.
async fn dry_run(ns: &Namespace, object: &Value) -> anyhow::Result<Result<Value, String>> {
    let kind = object["kind"]
        .as_str()
        .context("a kind")?;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match ns
        .api(kind)
        .create(&params, &serde_json::from_value(object.clone())?)
        .await
    {
        Ok(stored) => Ok(Ok(serde_json::to_value(stored)?)),
        Err(kube::Error::Api(status)) => {
            let causes = status
                .details
                .as_ref()
                .map(|details| format!("{:?}", details.causes))
                .unwrap_or_default();
            Ok(Err(causes))
        }
        Err(error) => Err(error.into()),
    }
}

async fn what_the_api_server_stores_can_be_read(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = &cluster.namespace("generated").await?;
    for kind in ["Agent", "Tool"] {
        let schema = &spec_schema(kind);
        let stored: Vec<bool> = stream::iter(0..OBJECTS)
            .map(|seed| async move {
                let object = object(kind, schema, &mut Random::new(seed));
                let is_readable = |object: &Value| match kind {
                    "Agent" => Agent::deserialize(object).is_ok(),
                    _ => Tool::deserialize(object).is_ok(),
                };
                match dry_run(ns, &object).await? {
                    Ok(stored) => {
                        ensure!(is_readable(&stored), "stored and unreadable: {stored}");
                        Ok(true)
                    }
                    Err(causes) => {
                        ensure!(
                            !(causes.contains("\"Unreadable\"") && is_readable(&object)),
                            "refused and readable: {object}: {causes}"
                        );
                        Ok(false)
                    }
                }
            })
            .buffer_unordered(16)
            .try_collect()
            .await?;
        let stored = stored
            .iter()
            .filter(|stored| **stored)
            .count();
        ensure!(
            stored > 50,
            "only {stored} of {OBJECTS} {kind}s were stored"
        );
    }
    Ok(())
}
