//! `agentkube review` over one large file, with no cluster.

use std::{
    fmt::Write as _,
    process::Command,
    time::{Duration, Instant},
};

use agentkube_playground::Process;
use anyhow::Context;
use tokio::time::sleep;

use super::{
    Bench,
    process::{cpu, has_ended, peak_kib},
    stage::{LIMIT, agent, agent_name},
    statistics::float,
};

pub(super) fn steps(rounds: usize) -> usize {
    rounds
}

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("agents.yaml");
    let mut text = String::new();
    for number in 0..bench.agents.review {
        let agent = agent(&agent_name(number), false);
        let _ = writeln!(text, "---\n{}", serde_saphyr::to_string(&agent)?);
    }
    std::fs::write(&file, text)?;

    let (mut seconds, mut cpu_seconds, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.rounds {
        bench.step("review: one file");
        let mut command = Command::new(&bench.binary);
        command.arg("review").arg(&file);
        let start = Instant::now();
        let mut process = Process::start(&format!("review-{round}"), command, directory.path())?;
        let id = process.id();
        let (mut peak, mut spent) = (0, Duration::ZERO);
        // Looked at until it has ended and before anybody waits for it: what it took is still to be read then.
        while !has_ended(id) {
            anyhow::ensure!(start.elapsed() < LIMIT, "`agentkube review` takes too long");
            peak = peak_kib(id).unwrap_or(peak);
            sleep(Duration::from_millis(1)).await;
        }
        seconds.push(start.elapsed().as_secs_f64());
        spent = cpu(id).unwrap_or(spent);
        cpu_seconds.push(spent.as_secs_f64());
        peaks.push(float(peak) / 1024.0);
        let status = process
            .exit_status()
            .context("it has ended")?;
        anyhow::ensure!(
            status.success(),
            "`agentkube review` ended ({status}):\n{}",
            process.log_tail(5)
        );
    }
    bench
        .figures
        .note("review.seconds", seconds);
    bench
        .figures
        .note("review.cpuSeconds", cpu_seconds);
    bench
        .figures
        .note("review.peakMiB", peaks);
    bench
        .figures
        .note("review.agents", [float(bench.agents.review)]);
    Ok(())
}
