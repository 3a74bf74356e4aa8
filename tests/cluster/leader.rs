//! Several replicas: one leads, and another one follows when it goes.

use std::time::Duration;

use agentkube::leader::LEASE_DURATION;
use agentkube_playground::{Manager, ManagerOptions, Proxy, until};
use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
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
        a_leader_that_was_frozen_is_followed_and_steps_back,
        a_leader_that_is_cut_off_is_followed_and_steps_back,
        a_holder_is_judged_by_what_it_does_and_not_by_its_clock,
        replicas_of_one_name_are_two_candidates,
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
    // A Service would leave out the replica that does not answer.
    cluster
        .point_webhooks_at(second.webhook_port())
        .await?;
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

async fn a_leader_that_was_frozen_is_followed_and_steps_back(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let [mut first, second] = two_managers(cluster).await?;
    let ns = cluster.namespace("frozen").await?;
    first.pause();
    let frozen = Instant::now();
    // A Service would leave out the replica that does not answer.
    cluster
        .point_webhooks_at(second.webhook_port())
        .await?;
    let armed = json!({"runtime": "Codex", "paused": false});
    ns.create(&agent("meanwhile", &armed))
        .await?;
    let limit = LEASE_DURATION + MARGIN;
    until_leading(&second, limit.saturating_sub(frozen.elapsed())).await?;
    ns.wait_running("meanwhile").await?;

    first.resume();
    until_following(&first).await?;
    ensure!(leads(&second).await?, "it took the Lease back");
    ns.create(&agent("after", &armed))
        .await?;
    ns.wait_running("after").await?;
    let pods = ns.list("Pod", "").await?;
    ensure!(pods.len() == 2, "not one pod for each Agent: {pods:?}");
    Ok(())
}

async fn a_leader_that_is_cut_off_is_followed_and_steps_back(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let proxy = Proxy::start(&cluster.control_plane).await?;
    let kubeconfig = proxy
        .kubeconfig(&cluster.control_plane, "proxied")
        .await?;
    let first = cluster
        .start_manager_with(ManagerOptions {
            env: vec![("KUBECONFIG".to_owned(), kubeconfig)],
            ..cluster.manager_options(&[])
        })
        .await?;
    until_leading(&first, LIMIT).await?;
    let second = second_manager(cluster).await?;
    proxy.freeze_everything();
    let cut_off = Instant::now();
    // It has to stop before somebody else begins.
    until_following(&first).await?;
    ensure!(!leads(&second).await?, "two led at once");
    let limit = LEASE_DURATION + MARGIN;
    until_leading(&second, limit.saturating_sub(cut_off.elapsed())).await?;

    cluster
        .point_webhooks_at(second.webhook_port())
        .await?;
    let ns = cluster.namespace("cut-off").await?;
    let armed = json!({"runtime": "Codex", "paused": false});
    ns.create(&agent("meanwhile", &armed))
        .await?;
    ns.wait_running("meanwhile").await?;
    proxy.thaw();
    ns.create(&agent("after", &armed))
        .await?;
    ns.wait_running("after").await?;
    ensure!(!leads(&first).await?, "it took the Lease back");
    Ok(())
}

async fn a_holder_is_judged_by_what_it_does_and_not_by_its_clock(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let leases: Api<Lease> = Api::namespaced(cluster.client(), "agentkube-system");
    let hour = SignedDuration::from_hours(1);
    let held = async |clock: Timestamp| {
        let spec = json!({"spec": {
            "holderIdentity": "somebody-else", "leaseDurationSeconds": 15, "leaseTransitions": 1,
            "renewTime": MicroTime(clock), "acquireTime": MicroTime(clock),
        }});
        leases
            .patch(
                "agentkube-manager",
                &PatchParams::default(),
                &Patch::Merge(spec),
            )
            .await
    };
    let mut manager = cluster.start_manager(&[]).await?;
    until_leading(&manager, LIMIT).await?;
    ensure!(manager.stop().await.is_some(), "it did not end");

    // Somebody renews the Lease every second, by a clock that is an hour slow.
    held(Timestamp::now() - hour).await?;
    let manager = Manager::start(&cluster.control_plane, cluster.manager_options(&[])).await?;
    let watched = Instant::now();
    while watched.elapsed() < LEASE_DURATION + MARGIN {
        held(Timestamp::now() - hour).await?;
        ensure!(!leads(&manager).await?, "it took a Lease that is renewed");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // By a clock that is an hour fast, and then no more.
    held(Timestamp::now() + hour).await?;
    until_leading(&manager, LEASE_DURATION + MARGIN).await
}

/// As they are where nothing tells them the names of their pods.
async fn replicas_of_one_name_are_two_candidates(cluster: &Cluster) -> anyhow::Result<()> {
    let mut first = cluster.start_manager(&[]).await?;
    until_leading(&first, LIMIT).await?;
    let options = ManagerOptions {
        webhook_port: None,
        ..cluster.manager_options(&[])
    };
    let second = Manager::start(&cluster.control_plane, options).await?;
    // For longer than it takes a candidate to try.
    let watched = Instant::now();
    while watched.elapsed() < HAND_OVER {
        ensure!(!leads(&second).await?, "two led at once");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    ensure!(leads(&first).await?, "neither leads");
    let (_, led) = futures::join!(first.stop(), until_leading(&second, HAND_OVER));
    led
}

/// Two managers, of which the first leads; the registrations point at that one.
async fn two_managers(cluster: &Cluster) -> anyhow::Result<[Manager; 2]> {
    let first = cluster.start_manager(&[]).await?;
    until_leading(&first, LIMIT).await?;
    let second = second_manager(cluster).await?;
    ensure!(
        leads(&first).await? && !leads(&second).await?,
        "not the first one alone leads"
    );
    Ok([first, second])
}

async fn second_manager(cluster: &Cluster) -> anyhow::Result<Manager> {
    let options = ManagerOptions {
        name: "agentkube-manager-2".to_owned(),
        webhook_port: None,
        ..cluster.manager_options(&[])
    };
    Manager::start(&cluster.control_plane, options).await
}

async fn until_following(manager: &Manager) -> anyhow::Result<()> {
    let led = until("the leader to step back", LIMIT, async || {
        Ok((!leads(manager).await?).then_some(()))
    })
    .await;
    led.with_context(|| manager.log())
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
