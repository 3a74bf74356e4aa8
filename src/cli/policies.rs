use super::output;
use crate::{admission::admission_policies, api};

/// Print the validating admission policies as YAML.
///
/// With them the API server itself checks, also while no manager runs, that the author of an Agent or
/// Tool may use what it references, and protects the labels that name a pod's owner.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example: `agentkube policies | kubectl apply --server-side -f -`")]
pub(super) struct Args {}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let Args {} = args;
    let mut documents = Vec::new();
    for admission in admission_policies() {
        documents.extend([
            api::to_yaml(&admission.policy)?,
            api::to_yaml(&admission.binding)?,
        ]);
    }
    Ok(output::data(&documents.join("---\n"))?)
}
