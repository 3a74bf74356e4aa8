use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{
    CheckFinding, foreign_leader,
    subject::{Installation, managers},
};
use crate::{
    api::{GROUP, MANAGER, Readable},
    server::certificates::ca_bundle::{MutatingRegistration, Registration, ValidatingRegistration},
    telemetry::CheckKind,
};

/// Whether somebody else answers for our resources: another registration, a manager in another
/// namespace, or one that leads in ours and is no pod of it. Only who may list them all, as an
/// administrator may, can see that; what the manager itself sees of a second installation is that
/// the registrations point elsewhere.
pub(super) async fn look(client: &Client, subject: &Installation) -> CheckFinding {
    match others(client, subject).await {
        Ok(others) if others.is_empty() => {
            CheckFinding::ok(CheckKind::Installations, "there is no other one")
        }
        Ok(others) => CheckFinding::error(
            CheckKind::Installations,
            format!(
                "there is another one: {} (hint: there can be only one in a cluster; end the other, its registrations first)",
                others.join(", ")
            ),
        ),
        Err(kube::Error::Api(status)) if status.is_forbidden() => CheckFinding::skipped(
            CheckKind::Installations,
            "others are only seen by who may list all registrations and Deployments",
        ),
        Err(error) => CheckFinding::skipped(
            CheckKind::Installations,
            format!("others cannot be looked for: {error}"),
        ),
    }
}

async fn others(client: &Client, subject: &Installation) -> Result<Vec<String>, kube::Error> {
    let mut others = foreign::<MutatingRegistration>(client).await?;
    others.extend(foreign::<ValidatingRegistration>(client).await?);
    let deployments: Api<Readable<Deployment>> = Api::all(client.clone());
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

/// The registrations that answer for our resources and are not ours, in words. What cannot be read is
/// nobody's.
async fn foreign<K: Registration>(client: &Client) -> Result<Vec<String>, kube::Error> {
    let registrations = Api::<Readable<K>>::all(client.clone())
        .list(&ListParams::default())
        .await?;
    let names = registrations
        .iter()
        .filter_map(Readable::as_read)
        .filter(|registration| names_our_group(*registration))
        .map(ResourceExt::name_any);
    Ok(names
        .filter(|name| name != MANAGER)
        .map(|name| format!("{} `{name}`", K::kind(&())))
        .collect())
}

/// By its name: a registration for all groups, as policy engines have one, is no installation.
fn names_our_group(registration: &impl Registration) -> bool {
    registration
        .webhooks()
        .iter()
        .flat_map(|webhook| &webhook.rules)
        .flat_map(|rule| &rule.api_groups)
        .any(|group| group == GROUP)
}
