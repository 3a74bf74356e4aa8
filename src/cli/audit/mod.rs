//! `agentkube audit`: lists what admission refused, and scans what runs in the cluster.

mod authors;
mod findings;
mod progress;
mod rejections;
mod scan;
mod trail;

use std::process::ExitCode;

use clap::Subcommand;

/// List what admission refused, and scan what runs in the cluster.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List what admission refused, to whom, and why
    Rejections(rejections::Args),
    /// Check every live Agent, Tool and pod against the current configuration
    Scan(scan::Args),
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Rejections(args) => rejections::run(args).map(|()| ExitCode::SUCCESS),
        Command::Scan(args) => Ok(scan::run(args)),
    }
}
