//! The command line: one file per command.

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
    /// List what admission refused, and scan what runs in the cluster
    Audit(audit::Args),
    /// Print the custom resource definitions as YAML
    Crds(crds::Args),
    /// Show which images run and why, plan a mirror of them, check that registries hold them
    Images(Box<images::Args>),
    /// Serve the webhooks and run the reconciler, in a cluster
    Manager(Box<manager::Args>),
    /// Print the validating admission policies as YAML
    Policies(policies::Args),
    /// Report what a cluster would decide about manifests, without a cluster
    Review(review::Args),
}

/// Runs the command line of this process.
///
/// Data goes to stdout, messages to stderr. Exit status: 0 success, 1 failure, 2 invalid command line.
/// `manager --check` exits with 1 if there are errors; `review` with 1 for a denial and 2 for an
/// unreadable manifest; `audit scan` with 1 for findings and 2 for an unreadable cluster.
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
