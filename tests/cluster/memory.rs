//! What an author stores does not end the leader: measured with the memory limit that is shipped.

use std::{
    collections::VecDeque,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use agentkube_playground::{ManagerOptions, until};
use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

use crate::{
    cluster::{Cluster, LIMIT, Namespace, agent, condition},
    harness::{Test, tests},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane:
        a_leader_within_its_memory_limit_survives_what_an_author_stores,
        agents_that_came_and_went_leave_no_memory_behind,
    ]
}

/// Where a control group for memory can be made, if it can.
const GROUPS: &str = "/sys/fs/cgroup/memory";
/// `resources.limits.memory` of `manifests/deployment.yaml`.
const MEMORY: u64 = 256 * 1024 * 1024;
/// Agents that together are larger than that.
const AGENTS: usize = 2_600;
/// The goal of each.
const GOAL_BYTES: usize = 60_000;
/// A toleration of each, so that a spec is about as large as it may be.
const VALUE_BYTES: usize = 4_000;

/// How often Agents come, change and go. What the first ones leave is not counted.
const ROUNDS: usize = 4;
/// How many at a time: 2,000 in all, since more of them take a small machine many minutes. The tests of
/// each store go to 10,000.
const A_ROUND: usize = 500;
/// Of so many Agents one is armed, and has a pod that comes and goes, too.
const ONE_ARMED_OF: usize = 50;
/// Between two readings of what it holds.
const PAUSE: Duration = Duration::from_millis(500);
/// What a manager may hold at the end beyond what it held after the first round, in KiB.
const MOST_LEFT_KIB: u64 = 2 * 1024;

/// A control group with a limit on memory.
struct Group(PathBuf);

impl Group {
    /// `None` where this machine has none to give.
    fn new() -> Option<Self> {
        let path = Path::new(GROUPS).join(format!("agentkube-test-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        let group = Self(path);
        fs::write(group.0.join("memory.limit_in_bytes"), MEMORY.to_string()).ok()?;
        Some(group)
    }

    /// The most that was used, in MiB, and how often the kernel ended a process.
    fn used(&self) -> anyhow::Result<(u64, u64)> {
        let peak: u64 = fs::read_to_string(self.0.join("memory.max_usage_in_bytes"))?
            .trim()
            .parse()?;
        let killed = fs::read_to_string(self.0.join("memory.oom_control"))?
            .lines()
            .find_map(|line| {
                line.strip_prefix("oom_kill ")?
                    .parse()
                    .ok()
            })
            .context("oom_kill")?;
        Ok((peak >> 20, killed))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

async fn a_leader_within_its_memory_limit_survives_what_an_author_stores(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let Some(group) = Group::new() else {
        eprintln!("SKIPPED: there is no control group to be had");
        return Ok(());
    };
    // The webhooks leave it out, so that this takes seconds: what they would admit is as large.
    let ns = Namespace {
        client: cluster.client(),
        name: "kube-system".to_owned(),
    };
    let value = "v".repeat(VALUE_BYTES);
    let spec = json!({
        "runtime": "Codex",
        "goal": {"inline": "x".repeat(GOAL_BYTES)},
        "tolerations": vec![json!({"key": "k", "value": value}); 14],
    });
    stream::iter(0..AGENTS)
        .map(|number| {
            let object = agent(&format!("large-{number}"), &spec);
            let ns = &ns;
            async move { ns.create(&object).await.map(drop) }
        })
        .buffer_unordered(16)
        .try_collect::<()>()
        .await?;

    let result = lead(cluster, &ns, &group).await;
    let agents = ns.api("Agent");
    agents
        .delete_collection(&DeleteParams::default(), &ListParams::default())
        .await?;
    result
}

async fn lead(cluster: &Cluster, ns: &Namespace, group: &Group) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("agentkube");
    let options = cluster.manager_options(&[]);
    fs::write(
        &script,
        format!(
            "#!/bin/sh\necho $$ > {}/cgroup.procs\nexec {} \"$@\"\n",
            group.0.display(),
            options.binary.display()
        ),
    )?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let mut manager = cluster
        .start_manager_with(ManagerOptions {
            binary: script,
            ..options
        })
        .await?;
    // The leader has looked at each of them.
    for number in [0, AGENTS / 2, AGENTS - 1] {
        let name = format!("large-{number}");
        until("the leader to have looked at all", LIMIT * 4, async || {
            let agent = ns.get("Agent", &name).await?;
            Ok(agent.filter(|agent| !condition(agent, "Accepted").is_null()))
        })
        .await?;
    }
    let (peak, killed) = group.used()?;
    println!(
        "{AGENTS} Agents of {} KB: {peak} MiB at most",
        (GOAL_BYTES + 14 * VALUE_BYTES) / 1000
    );
    ensure!(killed == 0, "the leader was killed, at {peak} MiB");
    manager.kill();
    Ok(())
}

/// The first round is not counted: an allocator keeps the room that was needed at once, and every thread
/// and every list has its own.
async fn agents_that_came_and_went_leave_no_memory_behind(cluster: &Cluster) -> anyhow::Result<()> {
    let manager = cluster.start_manager(&[]).await?;
    let ns = cluster.namespace("rounds").await?;
    let mut held = Vec::new();
    for round in 0..ROUNDS {
        let start = Instant::now();
        let names: Vec<_> = (0..A_ROUND)
            .map(|number| format!("bot-{round}-{number}"))
            .collect();
        come_change_and_go(&ns, &names).await?;
        held.push(settled(manager.id()).await?);
        println!(
            "round {round}: {A_ROUND} Agents came, changed and went in {:.0} s; the manager holds {} KiB",
            start.elapsed().as_secs_f64(),
            held.last()
                .expect("it was just measured")
        );
    }
    let (first, last) = (held[0], held[ROUNDS - 1]);
    ensure!(
        last <= first + MOST_LEFT_KIB,
        "{} KiB were left behind: {held:?}",
        last.saturating_sub(first)
    );
    Ok(())
}

async fn come_change_and_go(ns: &Namespace, names: &[String]) -> anyhow::Result<()> {
    let each = |number: usize, word: &str| {
        json!({
            "runtime": "Codex",
            "paused": !number.is_multiple_of(ONE_ARMED_OF),
            "goal": {"inline": format!("{word} {number}")},
            "tools": [{"name": format!("{word}-{number}")}],
        })
    };
    stream::iter(names.iter().enumerate())
        .map(async |(number, name)| {
            ns.create(&agent(name, &each(number, "first")))
                .await
                .map(drop)
        })
        .buffer_unordered(16)
        .try_collect::<()>()
        .await?;
    stream::iter(names.iter().enumerate())
        .map(async |(number, name)| {
            let patch = json!({"spec": each(number, "second")});
            ns.patch("Agent", name, &patch)
                .await
                .map(drop)
        })
        .buffer_unordered(16)
        .try_collect::<()>()
        .await?;
    // One by one: to list all of them again and again would take longer than what is waited for.
    for name in names {
        ns.wait("Agent", name, "to be told where it stands", |agent| {
            agent["status"]["observedGeneration"] == agent["metadata"]["generation"]
        })
        .await?;
    }
    ns.api("Agent")
        .delete_collection(&DeleteParams::default(), &ListParams::default())
        .await?;
    // The garbage collector takes what they leave.
    for kind in ["Agent", "Pod"] {
        until(&format!("every {kind} to go"), LIMIT * 4, async || {
            Ok((ns.count(kind).await? == 0).then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// What a process holds once that no longer changes, in KiB.
async fn settled(id: u32) -> anyhow::Result<u64> {
    const READINGS: usize = 8;
    const STEADY_KIB: u64 = 64;
    let mut readings = VecDeque::new();
    until("the manager's memory to settle", LIMIT, async || {
        tokio::time::sleep(PAUSE).await;
        readings.push_back(resident_kib(id)?);
        if readings.len() > READINGS {
            readings.pop_front();
        }
        let range = readings
            .iter()
            .min()
            .zip(readings.iter().max());
        let is_steady = readings.len() == READINGS
            && range.is_some_and(|(least, most)| most - least <= STEADY_KIB);
        Ok(range
            .filter(|_| is_steady)
            .map(|(_, most)| *most))
    })
    .await
}

fn resident_kib(id: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let size = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?
            .trim()
            .strip_suffix(" kB")?
            .parse()
            .ok()
    });
    size.context("VmRSS")
}
