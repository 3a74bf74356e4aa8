//! `agentkube images check`: what is wanted, what the registries say of it, and how that is told.

mod ask;
mod progress;
mod report;
mod words;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;

use self::{
    ask::{ask, wanted},
    report::Report,
};
use super::ImageArgs;
use crate::{
    cli::output,
    registry::{Client, ClientOptions, Credentials, Proxies},
};

/// Ask the registries whether every image of the configuration is there.
#[derive(clap::Args, Debug)]
#[group(skip)]
#[command(after_help = "\
Exit status: 0 everything is there, 1 something is missing, 2 a registry could not be asked.

Examples:
  `agentkube images check --set AGENTKUBE_IMAGE_REGISTRY=registry.example.com/mirror --platform linux/arm64`
  `agentkube images check --from-cluster --docker-config ~/.docker/config.json`")]
pub(super) struct Args {
    /// A platform that every image must be there for, such as linux/arm64
    #[arg(long, value_name = "OS/ARCH", value_parser = platform)]
    platform: Vec<String>,
    /// Ask registries that do not speak TLS in plain HTTP
    #[arg(long)]
    insecure_registry: bool,
    /// Trust the certificate authorities of this PEM file, too
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Take credentials from this Docker configuration; without it nobody is named
    #[arg(long, value_name = "FILE")]
    docker_config: Option<PathBuf>,
    /// What is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: CheckFormat,
    #[command(flatten)]
    subject: ImageArgs,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum CheckFormat {
    /// A line for each image, and what a node has to hold
    #[default]
    Table,
    /// One object with everything
    Json,
}

/// Exits with 2 for whatever kept it from asking, too: 1 means that something is missing.
pub(super) fn run(args: &Args) -> ExitCode {
    match check(args) {
        Ok(status) => status,
        Err(error) => {
            output::error(&error);
            ExitCode::from(2)
        }
    }
}

fn check(args: &Args) -> anyhow::Result<ExitCode> {
    let Args {
        platform,
        insecure_registry: _,
        ca_file: _,
        docker_config: _,
        output,
        subject,
    } = args;
    let client = client(args)?;
    let wanted = wanted(subject.read()?);
    let answers = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")?
        .block_on(ask(&client, &wanted));
    let report = Report::new(wanted, answers, platform);
    match output {
        CheckFormat::Table => output::data(&report.table())?,
        CheckFormat::Json => {
            output::data(&format!("{}\n", serde_json::to_string_pretty(&report)?))?
        }
    }
    report.complain();
    Ok(report.status())
}

fn client(args: &Args) -> anyhow::Result<Client> {
    let mut options = ClientOptions {
        plain_http: args.insecure_registry,
        proxies: Proxies::from_environment(),
        ..ClientOptions::default()
    };
    if let Some(path) = &args.docker_config {
        let text = fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        options.credentials =
            Credentials::parse(&text).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &args.ca_file {
        let pem = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        options.authorities = Some(pem);
    }
    let named = args.ca_file.as_ref().map_or_else(
        || "the client".to_owned(),
        |path| path.display().to_string(),
    );
    Client::new(options).context(named)
}

fn platform(text: &str) -> Result<String, String> {
    let parts: Vec<_> = text.split('/').collect();
    if matches!(parts.len(), 2 | 3)
        && parts
            .iter()
            .all(|part| !part.is_empty())
    {
        Ok(text.to_owned())
    } else {
        Err("not of the form `linux/arm64` or `linux/arm/v7`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_has_two_or_three_parts() {
        for text in ["linux/arm64", "linux/arm/v7"] {
            assert!(platform(text).is_ok(), "{text}");
        }
        for text in ["linux", "linux/", "/", "a/b/c/d", ""] {
            assert!(platform(text).is_err(), "{text}");
        }
    }
}
