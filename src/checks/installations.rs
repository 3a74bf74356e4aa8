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

/// Checks for a second installation: another registration of our resources, a manager in another
/// namespace, or a leader in ours that is not one of our pods. This needs permission to list all of
/// them, as an administrator has; the manager itself only sees that the registrations point elsewhere.
pub(super) async fn look(client: &Client, subject: &Installation) -> CheckFinding {
    match others(client, subject).await {
        Ok(others) if others.is_empty() => {
            CheckFinding::ok(CheckKind::Installations, "there is no other installation")
        }
        Ok(others) => CheckFinding::error(
            CheckKind::Installations,
            format!(
                "there is another installation: {} (hint: a cluster can have only one; remove the other, its registrations first)",
                others.join(", ")
            ),
        ),
        Err(kube::Error::Api(status)) if status.is_forbidden() => CheckFinding::skipped(
            CheckKind::Installations,
            "this needs permission to list registrations and Deployments cluster-wide",
        ),
        Err(error) => CheckFinding::skipped(
            CheckKind::Installations,
            format!("cannot look for other installations: {error}"),
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

/// Descriptions of foreign registrations for our resources. Those that cannot be read are skipped.
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

/// True if the registration names our API group. A wildcard, as policy engines use, does not count.
fn names_our_group(registration: &impl Registration) -> bool {
    registration
        .webhooks()
        .iter()
        .flat_map(|webhook| &webhook.rules)
        .flat_map(|rule| &rule.api_groups)
        .any(|group| group == GROUP)
}
