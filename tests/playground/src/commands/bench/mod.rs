//! `cargo playground -- bench`: how much agentkube costs, beside its peers.
//!
//! ```text
//! Section -> Stage { control plane, manager } -> Target <- Clients (load) -> Figures -> JSON, text, Markdown
//! ```
//!
//! Peers are measured in turn, in rounds, so that a machine that becomes slower does so for all of them; a figure is the
//! median of its rounds. Everything is bounded, in time or in number.

mod end_to_end;
mod figures;
mod handler;
mod load;
mod machine;
mod memory;
mod micro;
mod noop;
mod offline;
mod process;
mod progress;
mod reconcile;
mod release;
mod reviews;
mod stage;
mod start;
mod statistics;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use agentkube_playground::{Shutdown, build_manager};
use anyhow::Context;
use clap::ValueEnum;

use self::{figures::Figures, machine::Machine, progress::Progress, statistics::float};
use crate::commands::{interrupt::until_interrupted, output};

pub(crate) use noop::{NoopArgs, serve_noop};

/// For how long one peer is measured in one round.
const WINDOW: Duration = Duration::from_secs(2);

/// The same with `--quick`.
const QUICK_WINDOW: Duration = Duration::from_millis(300);

/// How many Agents there are at most where a section is not asked for by its name.
const MODEST: usize = 2_000;

/// Measure what agentkube and its peers cost, in turn
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Sections with many Agents have 2,000. A section selected with --only has as many as docs/benchmarks.md
states. `micro` runs the benchmarks of `cargo bench`.

Examples:
  cargo playground -- bench
  cargo playground -- bench --only endToEnd --only handler --json
  cargo playground -- bench --only memory --agents 10000")]
pub(crate) struct Args {
    /// Measure only this section (repeatable)
    #[arg(long, value_enum, value_name = "SECTION")]
    only: Vec<Section>,
    /// Number of rounds; each measures everything once
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=50))]
    rounds: u8,
    /// Largest number of Agents in a section
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(10..=100_000))]
    agents: Option<u32>,
    /// Print one JSON document on stdout instead of text
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print the tables of docs/benchmarks.md on stdout instead of text
    #[arg(long)]
    markdown: bool,
    /// Measure whatever build this is, for moments only: to try out the benchmark itself
    #[arg(long, hide = true)]
    quick: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "camelCase")]
enum Section {
    /// Pod creations through the API server
    EndToEnd,
    /// Requests straight to the webhook's port
    Handler,
    /// Size of the release binary
    Size,
    /// Time from a replica's start to its first answer
    Start,
    /// `agentkube review` over one large file
    Review,
    /// Memory of a replica with many Agents
    Memory,
    /// Time from armed Agents to their pods
    Reconcile,
    /// Decisions alone, without HTTP and TLS
    Micro,
}

/// How many Agents each section has.
struct Agents {
    start: usize,
    review: usize,
    memory: usize,
    reconcile: usize,
}

/// What every section works with.
struct Bench {
    binary: PathBuf,
    rounds: usize,
    window: Duration,
    agents: Agents,
    figures: Figures,
    progress: Progress,
}

/// Measures, and prints what was measured.
///
/// # Errors
///
/// Something cannot be built, does not come up, or answers otherwise than it should.
pub(crate) async fn run(args: Args, shutdown: &Shutdown) -> anyhow::Result<ExitCode> {
    let measured = until_interrupted(shutdown, Box::pin(measure(args))).await?;
    Ok(measured.map_or_else(|status| status, |()| ExitCode::SUCCESS))
}

async fn measure(args: Args) -> anyhow::Result<()> {
    let Args {
        only,
        rounds,
        agents,
        json,
        markdown,
        quick,
    } = args;
    if cfg!(debug_assertions) && !quick {
        release::go_on().await?;
    }
    let binary = build_manager().await?;
    let sections = if only.is_empty() {
        Section::value_variants()
    } else {
        &only
    };
    let agents = Agents::new(agents, !only.is_empty());
    let rounds = usize::from(rounds);
    let machine = Machine::now();
    let steps = sections
        .iter()
        .map(|section| section.steps(rounds, &agents))
        .sum();
    let mut bench = Bench {
        binary,
        rounds,
        window: if quick { QUICK_WINDOW } else { WINDOW },
        agents,
        figures: Figures::default(),
        progress: Progress::new(steps),
    };
    for section in sections {
        section
            .run(&mut bench)
            .await
            .with_context(|| format!("`{}` could not be measured", section.name()))?;
    }
    let Bench {
        figures, progress, ..
    } = bench;
    drop(progress);
    let text = if json {
        serde_json::to_string_pretty(&figures.json(&machine)?)? + "\n"
    } else if markdown {
        format!("{machine}\n\n{}", figures.markdown())
    } else {
        format!("{machine}\n\n{}", figures.text())
    };
    output::print(&text)
}

impl Section {
    fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    fn steps(self, rounds: usize, agents: &Agents) -> usize {
        match self {
            Self::EndToEnd => end_to_end::steps(rounds),
            Self::Handler => handler::steps(rounds),
            Self::Size => 1,
            Self::Start => start::steps(rounds),
            Self::Review => offline::steps(rounds),
            Self::Memory => memory::steps(agents.memory),
            Self::Reconcile => reconcile::steps(rounds),
            Self::Micro => micro::STEPS,
        }
    }

    async fn run(self, bench: &mut Bench) -> anyhow::Result<()> {
        match self {
            Self::EndToEnd => end_to_end::run(bench).await,
            Self::Handler => handler::run(bench).await,
            Self::Size => bench.size(),
            Self::Start => start::run(bench).await,
            Self::Review => offline::run(bench).await,
            Self::Memory => memory::run(bench).await,
            Self::Reconcile => reconcile::run(bench).await,
            Self::Micro => micro::run(bench).await,
        }
    }
}

impl Agents {
    /// As many as are asked for; else what the goals speak of, or a modest number where everything is measured.
    fn new(asked: Option<u32>, by_name: bool) -> Self {
        let asked = asked.and_then(|agents| usize::try_from(agents).ok());
        let limit = asked.unwrap_or(if by_name { usize::MAX } else { MODEST });
        Self {
            start: limit.min(10_000),
            review: asked.unwrap_or(10_000).min(10_000),
            memory: limit.min(50_000),
            reconcile: limit.min(10_000),
        }
    }
}

impl Bench {
    fn step(&mut self, what: &str) {
        self.progress.step(what);
    }

    fn size(&mut self) -> anyhow::Result<()> {
        self.step("size");
        let bytes = std::fs::metadata(&self.binary)?.len();
        self.figures
            .note("size.binaryMB", [float(bytes) / 1e6]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_agents_are_there_only_where_they_are_asked_for() {
        assert_eq!(Agents::new(None, false).memory, 2_000);
        assert_eq!(Agents::new(None, true).memory, 50_000);
        assert_eq!(Agents::new(Some(500), true).reconcile, 500);
        assert_eq!(Agents::new(None, false).review, 10_000);
    }

    #[test]
    fn sections_are_called_as_in_the_document() {
        let names: Vec<_> = Section::value_variants()
            .iter()
            .map(|section| section.name())
            .collect();
        assert_eq!(
            names,
            [
                "endToEnd",
                "handler",
                "size",
                "start",
                "review",
                "memory",
                "reconcile",
                "micro"
            ]
        );
    }
}
