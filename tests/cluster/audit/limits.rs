//! The audit trail on bad days: too much, too old, nowhere to write, no time left.

use std::time::{Duration, Instant};

use agentkube::rejections::{LONGEST_REJECTION, NEW_REJECTIONS, WRITTEN_BYTES};
use agentkube_playground::{Manager, ManagerOptions, until};
use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, api::DeleteParams};
use serde_json::json;

use super::{rejection, rejections};
use crate::{
    cluster::{Cluster, LIMIT, agent},
    direct::{Direct, creation},
    harness::{Test, tests},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane:
        a_full_namespace_keeps_the_newest,
        what_was_not_seen_for_long_goes,
        without_the_crd_admission_goes_on_and_says_so_once,
        a_quota_or_a_namespace_that_is_gone_costs_the_record_only,
        what_was_refused_before_a_stop_is_recorded,
        a_warning_is_recorded_as_one,
        a_flood_of_denials_costs_neither_latency_nor_memory_nor_counts,
        a_flood_of_refusals_leaves_no_more_than_its_limits,
    ]
}

/// How many denials the flood has, unless the variable `FLOOD` says otherwise.
const FLOOD: usize = 20_000;
/// How many namespaces it is spread over, and how many objects of each: as many as are kept.
const FLOOD_NAMESPACES: usize = 4;
const FLOOD_OBJECTS: usize = 200;
/// How many requests are under way at a time.
const FLOOD_WIDTH: usize = 8;

/// A series of the manager's metrics.
async fn metric(manager: &Manager, series: &str) -> anyhow::Result<u64> {
    let metrics = manager.metrics().await?;
    metrics
        .lines()
        .find_map(|line| {
            line.strip_prefix(series)?
                .trim()
                .parse()
                .ok()
        })
        .with_context(|| format!("{series} is not there:\n{metrics}"))
}

fn event(event: &str) -> String {
    format!(r#"agentkube_rejections_total{{event="{event}"}}"#)
}

async fn a_full_namespace_keeps_the_newest(cluster: &Cluster) -> anyhow::Result<()> {
    let manager = cluster
        .start_manager_with(ManagerOptions {
            args: vec!["--rejections-per-namespace=3".to_owned()],
            ..cluster.manager_options(&[])
        })
        .await?;
    let ns = cluster.namespace("full").await?;
    for index in 0..6 {
        let name = format!("bad-{index}");
        ns.refused(&agent(&name, &json!({"runtime": "Custom"})))
            .await?;
        // Each is written before the next, so that it is the leader who makes room.
        rejection(&ns, &name, "to be written", |_| true).await?;
    }
    let kept = rejections(&ns, 3).await?;
    let mut names: Vec<_> = kept
        .iter()
        .map(|rejection| rejection["spec"]["object"]["name"].to_string())
        .collect();
    names.sort();
    ensure!(
        names == [r#""bad-3""#, r#""bad-4""#, r#""bad-5""#],
        "{names:?}"
    );
    until("the evictions to be counted", LIMIT, async || {
        Ok((metric(&manager, &event("evicted")).await? == 3).then_some(()))
    })
    .await
}

async fn what_was_not_seen_for_long_goes(cluster: &Cluster) -> anyhow::Result<()> {
    let manager = cluster
        .start_manager_with(ManagerOptions {
            args: vec!["--rejections-max-age=3s".to_owned()],
            ..cluster.manager_options(&[])
        })
        .await?;
    let ns = cluster.namespace("old").await?;
    ns.refused(&agent("bad", &json!({"runtime": "Custom"})))
        .await?;
    rejections(&ns, 1).await?;
    rejections(&ns, 0).await?;
    ensure!(
        metric(&manager, &event("expired")).await? >= 1,
        "it is not counted"
    );
    Ok(())
}

async fn without_the_crd_admission_goes_on_and_says_so_once(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let manager = cluster.start_manager(&[]).await?;
    let ns = cluster.namespace("no-crd").await?;
    let crds: Api<CustomResourceDefinition> = Api::all(cluster.client());
    let name = "rejections.agentkube.io";
    crds.delete(name, &DeleteParams::default())
        .await?;
    until("the CRD to go", LIMIT, async || {
        Ok(crds
            .get_opt(name)
            .await?
            .is_none()
            .then_some(()))
    })
    .await?;
    for index in 0..3 {
        ns.refused(&agent(
            &format!("bad-{index}"),
            &json!({"runtime": "Custom"}),
        ))
        .await?;
    }
    until(
        "the manager to see that it cannot write",
        LIMIT,
        async || Ok((metric(&manager, "agentkube_rejections_writable").await? == 0).then_some(())),
    )
    .await?;
    ns.create(&agent(
        "good",
        &json!({"runtime": "Codex", "paused": false}),
    ))
    .await?;
    ns.wait_running("good").await?;

    let said = cluster
        .kubectl(
            &[
                "apply",
                "--filename",
                concat!(
                    env!("CARGO_MANIFEST_DIR"),
                    "/manifests/crds/rejections.agentkube.io.yaml"
                ),
            ],
            "",
        )
        .await?;
    ensure!(said.success, "{said:?}");
    // Until the API server serves it again, a list is answered with 404.
    until("Rejections to be served", LIMIT, async || {
        Ok(ns
            .list("Rejection", "")
            .await
            .ok()
            .map(|_| ()))
    })
    .await?;
    rejections(&ns, 3).await?;
    let log = manager.log();
    for words in [
        "Rejections cannot be written",
        "Rejections can be written again",
    ] {
        ensure!(log.matches(words).count() == 1, "{words}:\n{log}");
    }
    Ok(())
}

async fn a_quota_or_a_namespace_that_is_gone_costs_the_record_only(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let manager = cluster.start_manager(&[]).await?;
    let ns = cluster.namespace("quota").await?;
    ns.create(&json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "one"},
        "spec": {"hard": {"count/rejections.agentkube.io": "0"}},
    }))
    .await?;
    // The API server heeds a quota a moment after it was created.
    let mut number = 0;
    until("a denial to be counted as dropped", LIMIT, async || {
        number += 1;
        let bad = agent(&format!("bad-{number}"), &json!({"runtime": "Custom"}));
        ns.refused(&bad).await?;
        Ok((metric(&manager, &event("dropped")).await? > 0).then_some(()))
    })
    .await?;

    // A request can be under way when its namespace goes.
    let direct = Direct::to(cluster, &manager).await?;
    let spec = json!({"runtime": "Custom"});
    let before = metric(&manager, &event("dropped")).await?;
    let answer = direct
        .ask("mutate", &creation("never-there", "bad", "alice", &spec))
        .await?;
    ensure!(answer["response"]["status"]["code"] == 422, "{answer}");
    until("the other to be counted as dropped", LIMIT, async || {
        Ok((metric(&manager, &event("dropped")).await? > before).then_some(()))
    })
    .await
    .with_context(|| manager.log())?;

    // And all the others are still written.
    let other = cluster.namespace("other").await?;
    other
        .refused(&agent("bad", &json!({"runtime": "Custom"})))
        .await?;
    rejections(&other, 1).await?;
    ensure!(
        metric(&manager, "agentkube_rejections_writable").await? == 1,
        "one that is not taken is no fault of the API server"
    );
    Ok(())
}

async fn what_was_refused_before_a_stop_is_recorded(cluster: &Cluster) -> anyhow::Result<()> {
    let mut manager = cluster.start_manager(&[]).await?;
    let ns = cluster.namespace("stopped").await?;
    let bad = agent("bad", &json!({"runtime": "Custom"}));
    ns.refused(&bad).await?;
    rejections(&ns, 1).await?;
    // This one waits for the pause between two writes of one Rejection.
    ns.refused(&bad).await?;
    let status = manager.stop().await;
    ensure!(
        status.is_some_and(|status| status.success()),
        "{status:?}: {}",
        manager.log()
    );
    let recorded = ns.list("Rejection", "").await?;
    ensure!(recorded[0]["spec"]["count"] == 2, "{recorded:?}");
    Ok(())
}

async fn a_warning_is_recorded_as_one(cluster: &Cluster) -> anyhow::Result<()> {
    let _manager = cluster
        .start_manager(&[
            ("AGENTKUBE_ALLOWED_REGISTRIES", "docker.io/adaptivelive"),
            ("AGENTKUBE_ENFORCEMENT", "warn"),
        ])
        .await?;
    let ns = cluster.namespace("warned").await?;
    let outside = json!({"runtime": "Codex", "image": "quay.io/team/codex:v1"});
    ns.create(&agent("outside", &outside))
        .await?;
    let recorded = rejection(&ns, "outside", "to be written", |_| true).await?;
    let spec = &recorded["spec"];
    ensure!(
        spec["decision"] == "warn" && spec["reason"] == "RegistryNotAllowed",
        "{recorded}"
    );
    // Both webhooks see it, and it is one request.
    ensure!(spec["count"] == 1, "{recorded}");
    Ok(())
}

async fn a_flood_of_denials_costs_neither_latency_nor_memory_nor_counts(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let total = std::env::var("FLOOD").map_or(Ok(FLOOD), |count| count.parse())?;
    let manager = cluster.start_manager(&[]).await?;
    let mut namespaces = Vec::new();
    for _ in 0..FLOOD_NAMESPACES {
        namespaces.push(cluster.namespace("flood").await?);
    }
    let direct = Direct::to(cluster, &manager).await?;
    let spec = json!({"runtime": "Custom", "goal": {"inline": "x".repeat(2_000)}});
    let ask = async |index: usize| -> anyhow::Result<Duration> {
        let namespace = &namespaces[index % FLOOD_NAMESPACES].name;
        let name = format!("bad-{}", index / FLOOD_NAMESPACES % FLOOD_OBJECTS);
        let request = creation(namespace, &name, "alice", &spec);
        let start = Instant::now();
        let answer = direct.ask("mutate", &request).await?;
        ensure!(answer["response"]["allowed"] == false, "{answer}");
        Ok(start.elapsed())
    };
    let flood = async |range: std::ops::Range<usize>| -> anyhow::Result<Vec<Duration>> {
        let mut took: Vec<Duration> = stream::iter(range)
            .map(&ask)
            .buffer_unordered(FLOOD_WIDTH)
            .try_collect()
            .await?;
        took.sort();
        Ok(took)
    };
    let quantile = |took: &[Duration], per_cent: usize| took[took.len() * per_cent / 100];

    // The first part has everything that is remembered, the rest may cost no more.
    let first = flood(0..total / 10).await?;
    let memory = resident_kib(manager.id())?;
    let rest = flood(total / 10..total).await?;
    let later = resident_kib(manager.id())?;
    eprintln!(
        "flood of {total}: first tenth p50 {:?} p99 {:?}, rest p50 {:?} p99 {:?}, RSS {memory} KiB, then {later} KiB",
        quantile(&first, 50),
        quantile(&first, 99),
        quantile(&rest, 50),
        quantile(&rest, 99),
    );
    ensure!(
        later < memory + 16 * 1024,
        "memory grew from {memory} KiB to {later} KiB"
    );
    ensure!(
        quantile(&rest, 99) < 3 * quantile(&first, 99).max(Duration::from_millis(25)),
        "the p99 grew from {:?} to {:?}",
        quantile(&first, 99),
        quantile(&rest, 99)
    );

    // Every denial is counted, and every one is recorded.
    let denied = r#"agentkube_reviews_total{webhook="mutate",kind="Agent",operation="CREATE",decision="deny",reason="ImageRequired"}"#;
    ensure!(
        metric(&manager, denied).await? >= total as u64,
        "denials are missing in the count"
    );
    until("everything to be written", LIMIT, async || {
        let mut recorded = 0;
        for ns in &namespaces {
            recorded += rejections(ns, FLOOD_OBJECTS)
                .await?
                .iter()
                .filter_map(|rejection| rejection["spec"]["count"].as_u64())
                .sum::<u64>();
        }
        ensure!(recorded <= total as u64, "{recorded} of {total} recorded");
        Ok((recorded == total as u64).then_some(()))
    })
    .await?;
    ensure!(
        metric(&manager, &event("dropped")).await? == 0,
        "denials were dropped"
    );

    // What comes beyond that makes the oldest go.
    let full = &namespaces[0];
    for index in 0..10 {
        let name = format!("late-{index}");
        let request = creation(&full.name, &name, "alice", &spec);
        direct.ask("mutate", &request).await?;
    }
    until("the oldest to go", LIMIT, async || {
        let kept = full.list("Rejection", "").await?;
        let late = kept
            .iter()
            .filter(|rejection| {
                rejection["spec"]["object"]["name"]
                    .as_str()
                    .is_some_and(|name| name.starts_with("late-"))
            })
            .count();
        Ok((kept.len() == FLOOD_OBJECTS && late == 10).then_some(()))
    })
    .await
}

/// What everybody may send who reaches the port: no two reviews fold, and each is as long as its
/// Rejection may become.
async fn a_flood_of_refusals_leaves_no_more_than_its_limits(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    const NAMESPACES: usize = 8;
    const REVIEWS: usize = 2_000;
    let manager = cluster.start_manager(&[]).await?;
    let mut namespaces = Vec::new();
    for _ in 0..NAMESPACES {
        namespaces.push(cluster.namespace("hostile").await?);
    }
    let direct = Direct::to(cluster, &manager).await?;
    let name = "<&>".repeat(100);
    let hard: Vec<_> = (0..2_000)
        .map(|index| json!({format!("<{index}"): "\u{1}<"}))
        .collect();
    let spec = json!({"runtime": name, "image": name, "goal": hard});
    let start = Instant::now();
    let answers = stream::iter(0..REVIEWS).map(async |index| {
        let namespace = &namespaces[index % NAMESPACES].name;
        let name = format!("{index}{name}");
        let request = creation(namespace, &name, &name, &spec);
        let answer = direct.ask("mutate", &request).await?;
        ensure!(answer["response"]["allowed"] == false, "{answer}");
        anyhow::Ok(())
    });
    answers
        .buffer_unordered(FLOOD_WIDTH)
        .try_collect::<()>()
        .await?;

    until("nothing to wait any more", LIMIT, async || {
        let pending = metric(&manager, "agentkube_rejections_pending").await?;
        Ok((pending == 0).then_some(()))
    })
    .await
    .ok();
    let seconds = start.elapsed().as_secs() + 1;
    let (mut count, mut bytes) = (0, 0);
    for ns in &namespaces {
        let path = format!(
            "/apis/agentkube.io/v1alpha1/namespaces/{}/rejections",
            ns.name
        );
        let list = cluster
            .client()
            .request_text(http::Request::get(path).body(Vec::new())?)
            .await?;
        let list: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&list)?;
        let items = list["items"]
            .as_array()
            .context("a list")?;
        for item in items {
            // As Go writes it.
            let text = item.to_string();
            let escaped = text.matches(['<', '>', '&']).count() * 5;
            let size = text.len() + escaped;
            ensure!(size <= LONGEST_REJECTION, "{size} bytes: {item}");
            count += 1;
            bytes += u64::try_from(size)?;
        }
    }
    let written = metric(&manager, &event("written")).await?;
    let dropped = metric(&manager, &event("dropped")).await?;
    println!(
        "{REVIEWS} reviews in {seconds} s: {count} Rejections of {bytes} bytes, {written} written, {dropped} dropped"
    );
    let most = |(at_once, a_second): (u32, u32)| u64::from(at_once) + seconds * u64::from(a_second);
    ensure!(
        count > 0 && count <= most(NEW_REJECTIONS),
        "{count} Rejections"
    );
    // The last batch may go beyond it, and metadata is not counted.
    let slack = count * 2048 + 8 * u64::try_from(LONGEST_REJECTION)?;
    ensure!(bytes <= most(WRITTEN_BYTES) + slack, "{bytes} bytes");
    ensure!(dropped > 0, "nothing was beyond the limits");
    Ok(())
}

/// The resident memory of a process.
fn resident_kib(id: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    status
        .lines()
        .find_map(|line| {
            let size = line.strip_prefix("VmRSS:")?;
            size.trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .context("a resident size")
}
