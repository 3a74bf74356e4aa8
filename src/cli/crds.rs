use std::{fs, path::PathBuf};

use anyhow::Context;
use kube::ResourceExt;

use super::output;
use crate::api;

/// Print the custom resource definitions as YAML.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example: `agentkube crds | kubectl apply -f -`")]
pub(super) struct Args {
    /// Write one file per definition into this directory instead of printing them
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let Args { output_dir } = args;
    for crd in api::crds() {
        let yaml = api::to_yaml(&crd)?;
        match output_dir {
            Some(directory) => {
                let path = directory.join(format!("{}.yaml", crd.name_any()));
                fs::write(&path, yaml)
                    .with_context(|| format!("could not write {}", path.display()))?;
            }
            None => output::data(&format!("---\n{yaml}"))?,
        }
    }
    Ok(())
}
