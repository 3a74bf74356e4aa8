//! The command line: one file a command.

mod audit;
mod check;
mod client;
mod cluster;
mod crds;
mod csv;
mod duration;
mod images;
mod logging;
mod manager;
mod output;
mod policies;
mod review;
mod settings;
mod table;
mod tasks;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Admission server and slim reconciler for AI coding agents on Kubernetes.
#[derive(Debug, Parser)]
#[command(
    name = "agentkube",
    version,
    disable_help_subcommand = true,
    after_help = "Example: `agentkube crds | kubectl apply -f -`"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at what a cluster let in, and at what runs in it
    Audit(audit::Args),
    /// Print the custom resource definitions as YAML
    Crds(crds::Args),
    /// Show which images run and why, plan a mirror of them, check that registries hold them
    Images(Box<images::Args>),
    /// Serve the webhooks and run the reconciler, in a cluster
    Manager(Box<manager::Args>),
    /// Print the validating admission policies as YAML
    Policies(policies::Args),
    /// Say what a cluster would decide about manifests, without one
    Review(review::Args),
}

/// Runs the command line of this process.
///
/// Data goes to stdout, talk to stderr. Exit status 0 is success, 1 a failure, 2 a command line
/// that cannot be read; `manager --check` fails with 1 if something would keep a manager from working.
/// `review` has its own: 1 is a refusal, 2 a manifest that cannot be read; and
/// `audit scan`: 1 are findings, 2 a cluster that cannot be read.
#[must_use]
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Audit(args) => audit::run(&args),
        Command::Crds(args) => crds::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Images(args) => images::run(&args),
        Command::Manager(args) => manager::run(*args),
        Command::Policies(args) => policies::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Review(args) => Ok(review::run(&args)),
    };
    match result {
        Ok(status) => status,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
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
