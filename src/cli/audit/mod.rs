//! `agentkube audit`: what a cluster let in, and what runs in it.

mod findings;
mod progress;
mod scan;

use std::process::ExitCode;

use clap::Subcommand;

/// Look at what a cluster let in, and at what runs in it.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Hold every live Agent, Tool and pod against today's configuration
    Scan(scan::Args),
}

pub(super) fn run(args: &Args) -> ExitCode {
    match &args.command {
        Command::Scan(args) => scan::run(args),
    }
}
