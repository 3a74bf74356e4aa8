use k8s_openapi::api::{
    admissionregistration::v1::{
        MutatingWebhookConfiguration, RuleWithOperations, ValidatingWebhookConfiguration,
    },
    apps::v1::Deployment,
};
use kube::{Api, Client, Resource, ResourceExt, api::ListParams};

use super::{
    Finding, foreign_leader,
    subject::{Subject, managers},
};
use crate::{api::MANAGER, telemetry::CheckKind};

const GROUP: &str = "agentkube.io";

/// Whether somebody else answers for our resources: another registration, a manager in another
/// namespace, or one that leads in ours and is no pod of it. Only who may list them all, as an
/// administrator may, can see that; what the manager itself sees of a second installation is that
/// the registrations point elsewhere.
pub(super) async fn look(client: &Client, subject: &Subject) -> Finding {
    match others(client, subject).await {
        Ok(others) if others.is_empty() => {
            Finding::ok(CheckKind::Installations, "there is no other one")
        }
        Ok(others) => Finding::error(
            CheckKind::Installations,
            format!(
                "there is another one: {} (hint: there can be only one in a cluster; end the other, its registrations first)",
                others.join(", ")
            ),
        ),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Finding::skipped(
            CheckKind::Installations,
            "others are only seen by who may list all registrations and Deployments",
        ),
        Err(error) => Finding::skipped(
            CheckKind::Installations,
            format!("others cannot be looked for: {error}"),
        ),
    }
}

async fn others(client: &Client, subject: &Subject) -> Result<Vec<String>, kube::Error> {
    let all = ListParams::default();
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let mut others = Vec::new();
    for registration in mutating.list(&all).await? {
        let webhooks = registration.webhooks.iter().flatten();
        let rules = webhooks.map(|webhook| webhook.rules.as_deref());
        others.extend(foreign(&registration, rules));
    }
    for registration in validating.list(&all).await? {
        let webhooks = registration.webhooks.iter().flatten();
        let rules = webhooks.map(|webhook| webhook.rules.as_deref());
        others.extend(foreign(&registration, rules));
    }
    let deployments: Api<Deployment> = Api::all(client.clone());
    for deployment in deployments.list(&managers()).await? {
        let namespace = deployment
            .namespace()
            .unwrap_or_default();
        if namespace != subject.namespace {
            others.push(format!(
                "Deployment `{}` in the namespace `{namespace}`",
                deployment.name_any()
            ));
        }
    }
    others.extend(foreign_leader::find(client, subject).await?);
    Ok(others)
}

/// A registration that answers for our resources and is not ours, in words.
fn foreign<'r, K: Resource<DynamicType = ()>>(
    registration: &K,
    mut rules: impl Iterator<Item = Option<&'r [RuleWithOperations]>>,
) -> Option<String> {
    let name = registration.name_any();
    (name != MANAGER && rules.any(names_our_group)).then(|| format!("{} `{name}`", K::kind(&())))
}

/// By its name: a registration for all groups, as policy engines have one, is no installation.
fn names_our_group(rules: Option<&[RuleWithOperations]>) -> bool {
    rules
        .iter()
        .copied()
        .flatten()
        .any(|rule| {
            rule.api_groups
                .iter()
                .flatten()
                .any(|group| group == GROUP)
        })
}
