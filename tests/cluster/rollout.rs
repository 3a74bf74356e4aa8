//! Replicas that come and go while others want to be answered.

use std::time::{Duration, Instant};

use agentkube_playground::{Load, ManagerOptions, Replicas, until};
use anyhow::{Context, ensure};
use serde_json::json;

use crate::{
    cluster::{Cluster, Namespace, agent},
    harness::{Test, tests},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane:
        ten_rollouts_under_load_lose_no_call,
        a_replica_that_is_killed_takes_only_what_it_was_answering_along,
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
    let load = load(cluster, &ns)?;
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
    let load = load(cluster, &ns)?;
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

pub(crate) fn load(cluster: &Cluster, ns: &Namespace) -> anyhow::Result<Load> {
    Load::start(
        &cluster.control_plane.config(),
        CLIENTS,
        &ns.name,
        "load",
        IMAGE,
    )
    .context("no load")
}
