//! `agentkube images`: which images run, and everything around bringing them somewhere.

mod check;
mod cluster;
mod list;
mod named;
mod plan;

use std::process::ExitCode;

use clap::Subcommand;

use self::{
    cluster::Cluster,
    named::{NamedImage, OwnImage},
};
use super::settings::SettingsArgs;
use crate::images::{Component, ImageReference, ImageSettings};

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
struct ImageArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Take the settings from the manager that runs in the cluster, and the images that its Agents
    /// and Tools name
    #[arg(long, conflicts_with_all = ["env_file", "manager", "set"])]
    from_cluster: bool,
    /// An image that Agents or Tools name themselves, for as often as there are such
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    custom: Vec<ImageReference>,
}

impl ImageArgs {
    /// Reads what the arguments name.
    fn read(&self) -> anyhow::Result<Configuration> {
        self.read_with([])
    }

    /// Reads what the arguments name, with more settings on top of it.
    fn read_with<const N: usize>(&self, more: [(&str, &str); N]) -> anyhow::Result<Configuration> {
        let Self {
            settings,
            from_cluster,
            custom,
        } = self;
        let customs = custom.iter().map(|image| OwnImage {
            component: Component::Custom,
            image: NamedImage::Valid(image.clone()),
        });
        Ok(if *from_cluster {
            let cluster = Cluster::read(more)?;
            Configuration {
                images: cluster.policy.images.clone(),
                own: cluster.own().chain(customs).collect(),
                cluster: Some(cluster),
            }
        } else {
            Configuration {
                images: settings.policy_with(more)?.images,
                own: customs.collect(),
                cluster: None,
            }
        })
    }
}

/// The images of a manager and of those who have it run others.
struct Configuration {
    images: ImageSettings,
    /// The images that Agents and Tools name themselves.
    own: Vec<OwnImage>,
    /// Where all that was read from, if it was a cluster.
    cluster: Option<Cluster>,
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
