//! `agentkube audit`: what a cluster refused and let in, and what runs in it.

mod authors;
mod findings;
mod progress;
mod rejections;
mod scan;
mod trail;

use std::process::ExitCode;

use clap::Subcommand;

/// Look at what a cluster refused, and at what runs in it.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List what admission refused, whose it was, and why
    Rejections(rejections::Args),
    /// Hold every live Agent, Tool and pod against today's configuration
    Scan(scan::Args),
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Rejections(args) => rejections::run(args).map(|()| ExitCode::SUCCESS),
        Command::Scan(args) => Ok(scan::run(args)),
    }
}
