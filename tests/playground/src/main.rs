//! `cargo playground`: a real Kubernetes control plane on this machine with agentkube in front of it, until Ctrl-C.

mod commands;

use std::process::ExitCode;

use agentkube_playground::{Shutdown, talk};
use anyhow::Context;
use clap::{Parser, Subcommand};

use commands::{bench, chaos, intrude, up};

/// Start a Kubernetes control plane on this machine, with agentkube and sample Agents.
///
/// Everything listens on 127.0.0.1 and keeps its state in one temporary directory. At the end all processes are
/// stopped and the directory is deleted.
#[derive(Debug, Parser)]
#[command(
    name = "playground",
    bin_name = "cargo playground --",
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  cargo playground
  cargo playground -- --once --json
  cargo playground -- --env AGENTKUBE_IMAGE_REGISTRY=registry.example.com/mirror
  cargo playground -- --once --apply my-agents/ --apply one-more.yaml
  cargo playground -- bench --only endToEnd --json
  cargo playground -- chaos --minutes 5
  cargo playground -- intrude --minutes 5"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    up: up::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    Bench(bench::Args),
    Chaos(chaos::Args),
    Intrude(intrude::Args),
    /// Serve a fixed answer, as a baseline for the benchmark
    #[command(hide = true)]
    Noop(bench::NoopArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { command, up } = Cli::parse();
    let result = match Shutdown::listen().context("cannot listen for Ctrl-C") {
        Ok(shutdown) => match command {
            None => up::run(up, &shutdown).await,
            Some(Command::Bench(args)) => bench::run(args, &shutdown).await,
            Some(Command::Chaos(args)) => chaos::run(args, &shutdown).await,
            Some(Command::Intrude(args)) => intrude::run(args, &shutdown).await,
            Some(Command::Noop(args)) => bench::serve_noop(args, &shutdown).await,
        },
        Err(error) => Err(error),
    };
    result.unwrap_or_else(|error| {
        talk::say(format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn verify_cli() {
        Cli::command().debug_assert();
    }
}
