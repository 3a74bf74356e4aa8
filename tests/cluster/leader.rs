//! Several replicas: one leads, and another one follows when it goes.

use std::time::Duration;

use agentkube::leader::LEASE_DURATION;
use agentkube_playground::{Manager, ManagerOptions, until};
use anyhow::{Context, ensure};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    cluster::{Cluster, LIMIT, agent},
    harness::{Test, tests},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane:
        a_killed_leader_is_followed_when_its_lease_has_run_out,
        a_leader_that_stops_hands_over_at_once,
    ]
}

/// How long a replica may take to notice that the Lease was released: it looks every second.
const HAND_OVER: Duration = Duration::from_secs(3);

/// What it may take longer than the Lease lasts until there is another leader.
const MARGIN: Duration = Duration::from_secs(5);

async fn a_killed_leader_is_followed_when_its_lease_has_run_out(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let [mut first, second] = two_managers(cluster).await?;
    let ns = cluster.namespace("leaderless").await?;
    let armed = json!({"runtime": "Codex", "paused": false});
    ns.create(&agent("before", &armed))
        .await?;
    ns.wait_running("before").await?;

    first.kill();
    let killed = Instant::now();
    {
        // A Service would leave out the replica that does not answer.
        let mut installation = cluster.installation.lock().await;
        installation
            .point_webhooks_at(second.webhook_port())
            .await?;
        installation
            .until_webhooks_answer()
            .await?;
    }
    ensure!(!leads(&second).await?, "two led at once");
    for name in ["meanwhile", "as-well"] {
        ns.create(&agent(name, &armed)).await?;
    }
    let limit = LEASE_DURATION + MARGIN;
    let left = limit.saturating_sub(killed.elapsed());
    until_leading(&second, left).await?;
    for name in ["meanwhile", "as-well"] {
        ns.wait_running(name).await?;
    }
    let pods = ns.list("Pod", "").await?;
    ensure!(pods.len() == 3, "not one pod for each Agent: {pods:?}");
    Ok(())
}

async fn a_leader_that_stops_hands_over_at_once(cluster: &Cluster) -> anyhow::Result<()> {
    let [mut first, second] = two_managers(cluster).await?;
    let (status, led) = futures::join!(first.stop(), until_leading(&second, HAND_OVER));
    led?;
    ensure!(
        status.is_some_and(|status| status.success()),
        "the first ended badly: {status:?}\n{}",
        first.log()
    );
    Ok(())
}

/// Two managers, of which the first leads; the registrations point at that one.
async fn two_managers(cluster: &Cluster) -> anyhow::Result<[Manager; 2]> {
    let first = cluster.start_manager(&[]).await?;
    until_leading(&first, LIMIT).await?;
    let options = ManagerOptions {
        name: "agentkube-manager-2".to_owned(),
        webhook_port: None,
        ..cluster.manager_options(&[])
    };
    let second = Manager::start(&cluster.control_plane, options).await?;
    ensure!(
        leads(&first).await? && !leads(&second).await?,
        "not the first one alone leads"
    );
    Ok([first, second])
}

async fn until_leading(manager: &Manager, limit: Duration) -> anyhow::Result<()> {
    let led = until("a replica to lead", limit, async || {
        Ok(leads(manager).await?.then_some(()))
    })
    .await;
    led.with_context(|| manager.log())
}

/// What the replica says of itself, in its metrics.
async fn leads(manager: &Manager) -> anyhow::Result<bool> {
    let metrics = manager.metrics().await?;
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix("agentkube_leader "))
        .with_context(|| format!("no metric agentkube_leader:\n{metrics}"))?;
    Ok(value == "1")
}
