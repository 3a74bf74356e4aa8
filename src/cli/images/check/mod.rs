//! `agentkube images check`: looks every configured image up in its registry, and reports the result.

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

/// Check that the registries hold every configured image.
#[derive(clap::Args, Debug)]
#[group(skip)]
#[command(after_help = "\
Exit status: 0 all images exist, 1 something is missing, 2 a registry could not be queried

Examples:
  `agentkube images check --set AGENTKUBE_IMAGE_REGISTRY=registry.example.com/mirror --platform linux/arm64`
  `agentkube images check --from-cluster --docker-config ~/.docker/config.json`")]
pub(super) struct Args {
    /// A platform that every image must support, such as linux/arm64 (repeatable)
    #[arg(long, value_name = "OS/ARCH", value_parser = platform)]
    platform: Vec<String>,
    /// Use plain HTTP for registries that do not speak TLS
    #[arg(long)]
    insecure_registry: bool,
    /// Also trust the certificate authorities in this PEM file
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The Docker configuration to take credentials from (default: anonymous)
    #[arg(long, value_name = "FILE")]
    docker_config: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: CheckFormat,
    #[command(flatten)]
    subject: ImageArgs,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum CheckFormat {
    /// One line per image, and the compressed size of all images per node
    #[default]
    Table,
    /// One JSON object
    Json,
}

/// Every other failure also exits with 2, since 1 means that something is missing.
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
            output::data(&format!("{}\n", serde_json::to_string_pretty(&report)?))?;
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
