//! Decisions alone, with neither HTTP nor TLS around them: the benchmarks that `cargo bench` runs.

use std::{
    path::Path,
    process::{Output, Stdio},
};

use anyhow::{Context, ensure};
use serde::Deserialize;
use tokio::process::Command;

use super::{Bench, release, statistics::float};

pub(super) const STEPS: usize = 3;

/// What criterion writes of one benchmark: so many iterations took so many nanoseconds, sample by
/// sample.
#[derive(Deserialize)]
struct Samples {
    iters: Vec<f64>,
    times: Vec<f64>,
}

/// A line of what the benchmark of allocations prints.
#[derive(Debug, PartialEq)]
struct Allocations<'a> {
    case: &'a str,
    count: u64,
    bytes: u64,
}

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    bench.step("micro: building");
    let programs = release::build(&["--bench=allocations", "--bench=decisions"]).await?;
    let program = |name| {
        programs
            .get(name)
            .map(Command::new)
            .with_context(|| format!("Cargo has built no `{name}`"))
    };

    bench.step("micro: allocations");
    let table = output(&mut program("allocations")?).await?;
    let table = String::from_utf8_lossy(&table.stdout);

    bench.step("micro: nanoseconds");
    let results = tempfile::tempdir()?;
    let seconds = bench.window.as_secs_f64();
    let mut decisions = program("decisions")?;
    decisions
        .args(["--bench", "--quiet", "--measurement-time"])
        .arg(seconds.to_string())
        .arg("--warm-up-time")
        .arg((seconds / 10.0).to_string())
        .env("CRITERION_HOME", results.path());
    output(&mut decisions).await?;

    for Allocations { case, count, bytes } in table.lines().filter_map(allocations) {
        let samples = samples(results.path(), case)?;
        bench.figures.note(
            &format!("micro.{case}.ns"),
            samples
                .times
                .iter()
                .zip(&samples.iters)
                .map(|(time, iterations)| time / iterations),
        );
        bench
            .figures
            .note(&format!("micro.{case}.allocations"), [float(count)]);
        bench
            .figures
            .note(&format!("micro.{case}.allocatedBytes"), [float(bytes)]);
    }
    Ok(())
}

/// Runs a benchmark to its end, or until nobody waits for it any more.
async fn output(command: &mut Command) -> anyhow::Result<Output> {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("a benchmark cannot be started")?;
    ensure!(
        output.status.success(),
        "a benchmark ended ({}):\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}

fn samples(results: &Path, case: &str) -> anyhow::Result<Samples> {
    let path = results
        .join(case)
        .join("new/sample.json");
    let text =
        std::fs::read(path).with_context(|| format!("criterion has not measured `{case}`"))?;
    Ok(serde_json::from_slice(&text)?)
}

/// None for the heading.
fn allocations(line: &str) -> Option<Allocations<'_>> {
    let mut columns = line.split_whitespace();
    Some(Allocations {
        case: columns.next()?,
        count: columns.next()?.parse().ok()?,
        bytes: columns.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heading_is_no_case() {
        assert_eq!(
            allocations("        allocations    bytes  bytes at once"),
            None
        );
        let case = Allocations {
            case: "patch-pod",
            count: 62,
            bytes: 9001,
        };
        assert_eq!(allocations("patch-pod     62   9001    4000"), Some(case));
    }
}
