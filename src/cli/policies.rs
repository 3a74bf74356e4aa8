use super::output;
use crate::{
    admission::{ReferencePolicy, reference_policies},
    api,
};

/// Print the validating admission policies as YAML.
///
/// They have the API server itself ask whether who writes an Agent or a Tool may use what it names,
/// while no manager answers.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example: `agentkube policies | kubectl apply --server-side -f -`")]
pub(super) struct Args {}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let Args {} = args;
    let mut documents = Vec::new();
    for ReferencePolicy { policy, binding } in reference_policies() {
        documents.extend([api::to_yaml(&policy)?, api::to_yaml(&binding)?]);
    }
    Ok(output::data(&documents.join("---\n"))?)
}
