//! `agentkube images`: which images run, and everything around bringing them somewhere.

mod check;
mod cluster;
mod list;
mod plan;

use std::process::ExitCode;

use clap::Subcommand;

use super::settings::SettingsArgs;
use crate::images::{Component, ImageReference, Resolution, Source};

/// Show which images run and why, plan a mirror of them, check that registries hold them.
#[derive(clap::Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
The settings are those of the environment, where no option names others.

Examples:
  `agentkube images --set AGENTKUBE_IMAGE_REGISTRY=registry.example.com/mirror`
  `kubectl kustomize manifests/ > manager.yaml && agentkube images --manager manager.yaml`"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: list::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask the registries whether every image of the configuration is there
    Check(check::Args),
    /// Write what a tool takes to fill a mirror with every image that pods will look for there
    Plan(plan::Args),
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Args { command, list } = args;
    match command {
        Some(Command::Check(args)) => Ok(check::run(args)),
        Some(Command::Plan(args)) => plan::run(args).map(|()| ExitCode::SUCCESS),
        None => list::run(list).map(|()| ExitCode::SUCCESS),
    }
}

/// What all of the commands are about: the images of a configuration, and those that only Agents
/// and Tools name.
#[derive(clap::Args, Debug, Default)]
struct Subject {
    #[command(flatten)]
    settings: SettingsArgs,
    /// An image that Agents or Tools name themselves, for as often as there are such
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    custom: Vec<ImageReference>,
}

impl Subject {
    /// The images that Agents and Tools name themselves, as the rules see them.
    fn customs(&self) -> impl Iterator<Item = Resolution> {
        self.custom
            .iter()
            .map(|image| Resolution {
                component: Component::Custom,
                image: image.as_str().to_owned(),
                source: Source::Resource,
                variable: None,
            })
    }
}

fn image(text: &str) -> Result<ImageReference, String> {
    text.parse::<ImageReference>()
        .map_err(|error| with_hint(&error, error.hint()))
}

fn with_hint(error: &dyn std::error::Error, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{error} (hint: {hint})"),
        None => error.to_string(),
    }
}
