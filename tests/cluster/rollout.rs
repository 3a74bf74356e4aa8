//! Replicas that come and go while others want to be answered.

use std::time::{Duration, Instant};

use agentkube_playground::{Load, ManagerOptions, Replicas, until};
use anyhow::{Context, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, api::PostParams};
use serde_json::json;

use crate::{
    cluster::{Cluster, Namespace, agent},
    harness::{Test, tests},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane:
        ten_rollouts_under_load_lose_no_call,
        a_replica_that_is_killed_takes_only_what_it_was_answering_along,
        an_upgrade_under_load_loses_no_call,
    ]
}

/// How long a replica serves on after it was asked to end: longer than it takes until it gets no
/// new connections.
const DRAIN: Duration = Duration::from_secs(2);
/// How many clients there are.
const CLIENTS: usize = 4;
/// How many calls there have to be for the figure to say anything.
const CALLS: u64 = 10_000;
const ROLLOUTS: usize = 10;
const REPLICAS: usize = 2;
/// How long the calls may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

const IMAGE: &str = "docker.io/adaptivelive/codex:v0.3.0";

async fn ten_rollouts_under_load_lose_no_call(cluster: &Cluster) -> anyhow::Result<()> {
    let mut replicas = two_replicas(cluster).await?;
    let ns = namespace_with_agent(cluster).await?;
    let start = Instant::now();
    let load = load(cluster, &ns).await?;
    for _ in 0..ROLLOUTS {
        for _ in 0..REPLICAS {
            replicas
                .roll(&cluster.control_plane)
                .await?;
        }
    }
    until("enough calls", PATIENCE, async || {
        Ok((load.so_far().answered >= CALLS).then_some(()))
    })
    .await?;
    let calls = load.stop().await;
    println!(
        "{} calls in {:.0} s over {ROLLOUTS} rollouts of {REPLICAS} replicas: {} failures",
        calls.answered,
        start.elapsed().as_secs_f64(),
        calls.failures.len()
    );
    ensure!(calls.failures.is_empty(), "{:?}", calls.failures);
    ensure!(calls.retried == 0, "the API server was away: {calls:?}");
    replicas.stop().await;
    Ok(())
}

async fn a_replica_that_is_killed_takes_only_what_it_was_answering_along(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let mut replicas = two_replicas(cluster).await?;
    let ns = namespace_with_agent(cluster).await?;
    let load = load(cluster, &ns).await?;
    let mut kills = Vec::new();
    for index in [0, 1, 0] {
        until("some calls", PATIENCE, async || {
            let wanted = 200 * (kills.len() as u64 + 1);
            Ok((load.so_far().answered >= wanted).then_some(()))
        })
        .await?;
        kills.push(Instant::now());
        replicas
            .replace_killed(&cluster.control_plane, index)
            .await?;
    }
    let calls = load.stop().await;
    println!(
        "{} calls, {} failures with {} kills",
        calls.answered,
        calls.failures.len(),
        kills.len()
    );
    // The API server's keep-alive connections break at the kill; what was not sent yet goes elsewhere.
    let margin = Duration::from_millis(100);
    for failure in &calls.failures {
        ensure!(
            kills
                .iter()
                .any(|kill| failure.from <= *kill + margin && *kill <= failure.to),
            "this call was not in flight: {failure:?}"
        );
    }
    ensure!(
        calls.failures.len() <= kills.len() * CLIENTS,
        "more calls failed than there were clients: {:?}",
        calls.failures
    );
    replicas.stop().await;
    Ok(())
}

/// CRDs first, then the replicas: as `kubectl apply -k` does, since a Deployment rolls later. The
/// variable `AGENTKUBE_OLDER` may name the program that is upgraded; without it, it is this one, and
/// what is older is the CRD.
async fn an_upgrade_under_load_loses_no_call(cluster: &Cluster) -> anyhow::Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(cluster.client());
    let name = "agents.agentkube.io";
    let mut older = crds.get(name).await?;
    let field = forget_a_field(&mut older)?;
    crds.replace(name, &PostParams::default(), &older)
        .await?;
    let mut options = ManagerOptions {
        drain_delay: DRAIN,
        ..cluster.manager_options(&[])
    };
    let newer = options.binary.clone();
    if let Some(binary) = std::env::var_os("AGENTKUBE_OLDER") {
        options.binary = binary.into();
    }
    let mut replicas = cluster
        .start_replicas(options, REPLICAS)
        .await?;
    let ns = namespace_with_agent(cluster).await?;
    let load = load(cluster, &ns).await?;
    some_calls(&load).await?;

    cluster.apply_manifests().await?;
    let crd = serde_json::to_string(&crds.get(name).await?)?;
    ensure!(crd.contains(field), "the CRD is still the older one");
    some_calls(&load).await?;
    replicas.upgrade_to(newer);
    for _ in 0..REPLICAS {
        replicas
            .roll(&cluster.control_plane)
            .await?;
        some_calls(&load).await?;
    }
    let calls = load.stop().await;
    println!(
        "{} calls over an upgrade: {} failures",
        calls.answered,
        calls.failures.len()
    );
    ensure!(calls.failures.is_empty(), "{:?}", calls.failures);
    replicas.stop().await;
    Ok(())
}

/// Takes a field out of the schema of Agents, and says which.
fn forget_a_field(crd: &mut CustomResourceDefinition) -> anyhow::Result<&'static str> {
    let field = "nodeSelector";
    let spec = crd
        .spec
        .versions
        .first_mut()
        .and_then(|version| {
            version
                .schema
                .as_mut()?
                .open_api_v3_schema
                .as_mut()
        })
        .and_then(|schema| {
            schema
                .properties
                .as_mut()?
                .get_mut("spec")
        })
        .context("the CRD has no spec")?;
    spec.properties
        .as_mut()
        .and_then(|fields| fields.remove(field))
        .context("it has no such field")?;
    Ok(field)
}

/// Waits for some more calls.
async fn some_calls(load: &Load) -> anyhow::Result<()> {
    let before = load.so_far().answered;
    until("some more calls", PATIENCE, async || {
        Ok((load.so_far().answered > before + 200).then_some(()))
    })
    .await
}

/// Two replicas behind the address that the registrations point at.
pub(crate) async fn two_replicas(cluster: &Cluster) -> anyhow::Result<Replicas> {
    let options = ManagerOptions {
        drain_delay: DRAIN,
        ..cluster.manager_options(&[])
    };
    cluster
        .start_replicas(options, REPLICAS)
        .await
}

pub(crate) async fn namespace_with_agent(cluster: &Cluster) -> anyhow::Result<Namespace> {
    let ns = cluster.namespace("load").await?;
    ns.create(&agent("load", &json!({"runtime": "Codex", "paused": true})))
        .await?;
    Ok(ns)
}

pub(crate) async fn load(cluster: &Cluster, ns: &Namespace) -> anyhow::Result<Load> {
    Load::start(
        &cluster.control_plane.config(),
        CLIENTS,
        &ns.name,
        "load",
        IMAGE,
    )
    .await
    .context("no load")
}
