use super::output;
use crate::{admission::admission_policies, api};

/// Print the validating admission policies as YAML.
///
/// They have the API server itself ask whether who writes an Agent or a Tool may use what it names,
/// while no manager answers, and keep the labels that say whose a pod is.
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
