//! `agentkube images`: lists the images that run, plans a mirror, and checks the registries.

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
The settings are read from the environment unless an option names another source.

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
    /// Check that the registries hold every configured image
    Check(check::Args),
    /// Write the input for a tool that fills a mirror with every image that pods will pull from it
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

/// The images that all of the commands work on: those of a configuration, and those that only Agents and
/// Tools name.
#[derive(clap::Args, Debug, Default)]
struct ImageArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Read the settings from the running manager, and include the images that Agents and Tools in the
    /// cluster name
    #[arg(long, conflicts_with_all = ["env_file", "manager", "set"])]
    from_cluster: bool,
    /// An image that an Agent or Tool names itself (repeatable)
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    custom: Vec<ImageReference>,
}

impl ImageArgs {
    /// Reads the configuration of the arguments.
    fn read(&self) -> anyhow::Result<Configuration> {
        self.read_with([])
    }

    /// Reads the configuration of the arguments, with more settings on top.
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

/// The images of the settings, and those that Agents and Tools name.
struct Configuration {
    images: ImageSettings,
    /// The images that Agents and Tools name themselves.
    own: Vec<OwnImage>,
    /// The cluster that was read, if any.
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
