//! `cargo playground -- intrude`: people with different rights do at random what could give them more than they
//! may have, and every pod that was ever stored is held against what its authors were permitted.
//!
//! ```text
//! moves -> episode -> API server -> audit log -> History -> Judge -> Finding -> shorten -> Violation
//!            cast ------------------------------------------^
//!            crew (replicas, and what happens to them)
//! ```
//!
//! `history`, `parts`, `judge` and `shorten` are pure. What is random comes from a seed; how requests of several
//! people meet does not, so a seed brings the same moves, and with luck the same finding.

mod audit;
mod cast;
mod changes;
mod crew;
mod episode;
mod faults;
mod ground;
mod hands;
mod history;
mod judge;
mod moves;
mod parts;
mod report;
mod run;
mod shorten;

use std::{
    collections::BTreeMap, convert::Infallible, process::ExitCode, sync::Arc, time::Duration,
};

use agentkube_playground::{
    Binaries, ControlPlane, ControlPlaneOptions, Shutdown, build_manager, free_ports, talk,
};
use anyhow::Context;
use fastrand::Rng;
use tokio::time::{Instant, sleep};

use self::{
    audit::AuditLog,
    crew::Crew,
    episode::World,
    faults::{Fault, Windows},
    report::Report,
    run::Run,
};
use crate::commands::{interrupt::until_interrupted, output};

/// The pause between two faults.
const PAUSE: Duration = Duration::from_secs(2);

/// Let users with few rights try random ways to get more
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Users with different rights write random Agents, Tools and pods, in one namespace after another.
Meanwhile replicas lag, freeze and are killed, and the webhook registrations are removed and restored.
Every pod that was ever stored is then compared with what its authors were permitted. The exit status
is 0 if no pod got more than that.

Examples:
  cargo playground -- intrude --minutes 5
  cargo playground -- intrude --minutes 1 --seed 7 --calm --json")]
pub(crate) struct Args {
    /// Minutes during which new episodes begin
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=24 * 60))]
    minutes: u64,
    /// Seed of the moves [default: random]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Cause no faults
    #[arg(long)]
    calm: bool,
    /// Keep the webhook registrations in place
    #[arg(long)]
    registered: bool,
    /// Print one JSON document on stdout instead of text
    #[arg(long)]
    json: bool,
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
        calm,
        registered,
        json,
    } = args;
    let faults = Fault::choices(calm, registered);
    let seed = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let work = Box::pin(intrude(Duration::from_secs(60 * minutes), seed, &faults));
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

async fn intrude(duration: Duration, seed: u64, choices: &[Fault]) -> anyhow::Result<Report> {
    let binary = build_manager().await?;
    let binaries = Binaries::locate().await?;
    talk::say("starting a control plane and two replicas");
    let audit = AuditLog::new()?;
    let options = ControlPlaneOptions {
        extra_apiserver_args: audit.arguments(),
        ..ControlPlaneOptions::default()
    };
    let control_plane = ControlPlane::start(&binaries, options).await?;
    let [port] = free_ports()?;
    let windows = Windows::default();
    let mut crew = Crew::start(&control_plane, binary, port, windows.clone()).await?;
    ground::create_roles(&control_plane).await?;
    let world = Arc::new(World {
        admin: control_plane.client(),
        config: control_plane.config(),
        audit,
    });

    let mut run = Run::new(seed, windows)?;
    let mut faults = BTreeMap::<_, u64>::new();
    let trouble = trouble(&mut crew, &control_plane, seed, choices, &mut faults);
    tokio::select! {
        played = run.play(&world, Instant::now() + duration) => played?,
        failed = trouble => match failed? {},
    }
    crew.stop().await;
    control_plane.stop().await;
    Ok(Report {
        faults,
        ..run.report
    })
}

/// One of these faults after another, if there is a choice.
async fn trouble(
    crew: &mut Crew,
    control_plane: &ControlPlane,
    seed: u64,
    choices: &[Fault],
    faults: &mut BTreeMap<&'static str, u64>,
) -> anyhow::Result<Infallible> {
    let mut rng = Rng::with_seed(seed);
    loop {
        sleep(PAUSE).await;
        crew.expect_running()?;
        let Some(fault) = rng.choice(choices).copied() else {
            continue;
        };
        *faults.entry(fault.name()).or_default() += 1;
        crew.strike(control_plane, fault, &mut rng)
            .await
            .with_context(|| format!("after the fault {}", fault.name()))?;
    }
}
