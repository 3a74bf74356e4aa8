//! Random faults under constant load, and what they cost.

mod census;
mod faults;
mod people;
mod poison;

use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use agentkube_playground::{
    Binaries, Calls, ControlPlane, ControlPlaneOptions, Installation, Load, ManagerOptions,
    Replicas, Shutdown, build_manager, free_ports, talk,
};
use anyhow::Context;
use fastrand::Rng;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::PostParams};
use serde::Serialize;
use serde_json::json;

use self::{
    census::Census,
    faults::{Excuse, Fault, Ground},
    people::{NAMESPACE, People},
};
use crate::commands::{interrupt::until_interrupted, output};

/// The Agent that the pods of the load say they belong to.
const LOADED: &str = "load";
/// How many clients load admission.
const CLIENTS: usize = 4;
/// How many replicas there are.
const REPLICAS: usize = 2;
/// How long a replica serves on after it was asked to end.
const DRAIN: Duration = Duration::from_secs(2);
/// How long it may take after the last fault until every Agent has its pod.
const SETTLE_LIMIT: Duration = Duration::from_secs(180);

/// Cause random faults under load and count the failed calls
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Two replicas run behind a balancer while clients create pods and people create Agents. Meanwhile
replicas are replaced, killed and frozen, etcd and the API server are stopped and started, and objects
that cannot be read come and go. The exit status is 0 if no call failed, except those in flight at a
fault, and every Agent has exactly its pod.

Examples:
  cargo playground -- chaos --minutes 5
  cargo playground -- chaos --minutes 1 --seed 7 --json")]
pub(crate) struct Args {
    /// Minutes during which new faults begin
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=24 * 60))]
    minutes: u64,
    /// Seed of the faults and their order [default: random]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Print one JSON document on stdout instead of text
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// Creations of pods that were answered.
    calls: u64,
    /// Those that a correct client would have seen succeed if the webhooks were not there.
    failures: usize,
    /// Those that were in flight on a replica that was killed or frozen, or in an API server that ended.
    excused: usize,
    /// How often each fault happened.
    faults: BTreeMap<&'static str, u64>,
    #[serde(flatten)]
    census: Census,
    /// Brings the same faults in the same order.
    seed: u64,
}

/// Runs for as long as it was asked to, or until Ctrl-C.
///
/// # Errors
///
/// Something does not come up, or does not come back after a fault.
pub(crate) async fn run(args: Args, shutdown: &Shutdown) -> anyhow::Result<ExitCode> {
    let Args {
        minutes,
        seed,
        json,
    } = args;
    let seed = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let work = Box::pin(cause(Duration::from_secs(60 * minutes), seed));
    let report = match until_interrupted(shutdown, work).await? {
        Ok(report) => report,
        Err(status) => return Ok(status),
    };
    output::report(&report, json)?;
    Ok(if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn cause(duration: Duration, seed: u64) -> anyhow::Result<Report> {
    let binary = build_manager().await?;
    let binaries = Binaries::locate().await?;
    talk::say("starting a control plane and two replicas");
    let control_plane = ControlPlane::start(&binaries, ControlPlaneOptions::default()).await?;
    let [port] = free_ports()?;
    let installation = Installation::apply(&control_plane, port).await?;
    let options = ManagerOptions {
        drain_delay: DRAIN,
        ..ManagerOptions::new(binary)
    };
    let replicas = Replicas::start(&control_plane, options, port, REPLICAS).await?;
    installation
        .until_webhooks_answer()
        .await?;

    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
    Api::all(control_plane.client())
        .create(&PostParams::default(), &namespace)
        .await?;
    let people = People::start(control_plane.config(), NAMESPACE, LOADED).await?;
    let load = Load::start(
        &control_plane.config(),
        CLIENTS,
        NAMESPACE,
        LOADED,
        &census::image()?,
    )
    .await?;

    let mut ground = Ground {
        control_plane: &control_plane,
        replicas,
        rng: Rng::with_seed(seed),
    };
    let mut faults = BTreeMap::new();
    let mut excuses = Vec::new();
    let end = Instant::now() + duration;
    'faults: loop {
        let mut kinds = Fault::ALL;
        ground.rng.shuffle(&mut kinds);
        for fault in kinds {
            if Instant::now() >= end {
                break 'faults;
            }
            let calls = load.so_far();
            talk::say(format!(
                "{:>5} s left, {} calls, {} failed: {}",
                end.saturating_duration_since(Instant::now())
                    .as_secs(),
                calls.answered,
                unexcused(&calls, &excuses).count(),
                fault.name(),
            ));
            let excuse = ground
                .strike(fault)
                .await
                .with_context(|| format!("after the fault {}", fault.name()))?;
            excuses.extend(excuse);
            *faults.entry(fault.name()).or_default() += 1;
        }
    }

    people.stop().await?;
    let calls = load.stop().await;
    talk::say("waiting until every Agent has its pod");
    let census = Census::take(&control_plane.client(), SETTLE_LIMIT).await?;
    for failure in unexcused(&calls, &excuses) {
        talk::say(format!("a call failed: {}", failure.message));
    }
    let failures = unexcused(&calls, &excuses).count();
    ground.replicas.stop().await;
    control_plane.stop().await;
    Ok(Report {
        calls: calls.answered,
        failures,
        excused: calls.failures.len() - failures,
        faults,
        census,
        seed,
    })
}

/// The failures that nothing explains but us.
fn unexcused<'a>(
    calls: &'a Calls,
    excuses: &'a [Excuse],
) -> impl Iterator<Item = &'a agentkube_playground::Failure> {
    calls.failures.iter().filter(|failure| {
        !excuses
            .iter()
            .any(|excuse| excuse.covers(failure))
    })
}

impl Report {
    fn is_good(&self) -> bool {
        self.failures == 0 && self.census.is_good()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            calls,
            failures,
            excused,
            faults,
            census,
            seed,
        } = self;
        writeln!(
            formatter,
            "{calls} calls, {failures} failed, {excused} more were in flight at a fault"
        )?;
        for (fault, count) in faults {
            writeln!(formatter, "  {count:>3} x {fault}")?;
        }
        writeln!(formatter, "{census}")?;
        writeln!(formatter, "seed {seed}")
    }
}
