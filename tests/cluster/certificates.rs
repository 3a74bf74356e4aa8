//! How replicas and the API server come to share one certificate authority, and keep it.

use agentkube_playground::{Manager, ManagerOptions, until};
use anyhow::{Context, ensure};
use k8s_openapi::api::{
    admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
    core::v1::Secret,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use crate::{
    cluster::{Cluster, LIMIT},
    harness::{Test, tests},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane:
        replicas_that_start_at_once_agree_on_one_authority,
        a_wiped_ca_bundle_comes_back,
        a_deleted_secret_is_issued_anew_and_admission_goes_on,
    ]
}

/// Also the name of both registrations.
const NAMESPACE: &str = "agentkube-system";
const REGISTRATION: &str = "agentkube-manager";
const SECRET: &str = "agentkube-webhook-tls";

async fn replicas_that_start_at_once_agree_on_one_authority(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    delete_secret(cluster).await?;
    let start = |name: &str| {
        let options = ManagerOptions {
            name: name.to_owned(),
            webhook_port: None,
            ..cluster.manager_options(&[])
        };
        Manager::start(&cluster.control_plane, options)
    };
    let (first, second, third) = futures::try_join!(
        start("agentkube-manager-1"),
        start("agentkube-manager-2"),
        start("agentkube-manager-3")
    )?;
    let authority = authority(cluster)
        .await?
        .context("no authority")?;
    ensure!(
        bundles(cluster)
            .await?
            .iter()
            .all(|bundle| *bundle == authority),
        "the registrations hold another authority than the Secret"
    );
    // The API server itself says whether it takes their certificates. One that is gone cannot
    // answer for the next.
    for manager in [first, second, third] {
        let mut installation = cluster.installation.lock().await;
        installation
            .point_webhooks_at(manager.webhook_port())
            .await?;
        installation
            .until_webhooks_answer()
            .await
            .with_context(|| manager.log())?;
        drop(manager);
    }
    ensure!(
        self::authority(cluster).await? == Some(authority),
        "the replicas went on to another authority"
    );
    Ok(())
}

async fn a_wiped_ca_bundle_comes_back(cluster: &Cluster) -> anyhow::Result<()> {
    let _manager = cluster.start_manager(&[]).await?;
    let authority = authority(cluster)
        .await?
        .context("no authority")?;
    let wipe = |count: usize| -> anyhow::Result<json_patch::Patch> {
        let operations = (0..count).map(|index| {
            json!({"op": "remove", "path": format!("/webhooks/{index}/clientConfig/caBundle")})
        });
        Ok(serde_json::from_value(operations.collect())?)
    };
    let (mutating, validating) = registrations(cluster);
    let params = PatchParams::default();
    let count = mutating
        .get(REGISTRATION)
        .await?
        .webhooks
        .map_or(0, |webhooks| webhooks.len());
    let wiped = mutating
        .patch(REGISTRATION, &params, &Patch::<()>::Json(wipe(count)?))
        .await?;
    ensure!(
        wiped
            .webhooks
            .iter()
            .flatten()
            .all(|webhook| webhook
                .client_config
                .ca_bundle
                .is_none()),
        "nothing was wiped"
    );
    let count = validating
        .get(REGISTRATION)
        .await?
        .webhooks
        .map_or(0, |webhooks| webhooks.len());
    validating
        .patch(REGISTRATION, &params, &Patch::<()>::Json(wipe(count)?))
        .await?;
    until_bundles_are(cluster, &authority).await?;
    cluster
        .installation
        .lock()
        .await
        .until_webhooks_answer()
        .await
}

async fn a_deleted_secret_is_issued_anew_and_admission_goes_on(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    // Short lives, so that the old authority does not stay beside the new one for a minute.
    let options = ManagerOptions {
        args: ["--certificate-lifetime=30s", "--authority-lifetime=60s"]
            .map(str::to_owned)
            .to_vec(),
        ..cluster.manager_options(&[])
    };
    let manager = cluster
        .start_manager_with(options)
        .await?;
    let old = authority(cluster)
        .await?
        .context("no authority")?;
    delete_secret(cluster).await?;
    let new = until("another authority", LIMIT, async || {
        Ok(authority(cluster)
            .await?
            .filter(|authority| *authority != old))
    })
    .await
    .with_context(|| manager.log())?;
    until_bundles_are(cluster, &new)
        .await
        .with_context(|| manager.log())?;
    cluster
        .installation
        .lock()
        .await
        .until_webhooks_answer()
        .await
        .with_context(|| manager.log())
}

fn registrations(
    cluster: &Cluster,
) -> (
    Api<MutatingWebhookConfiguration>,
    Api<ValidatingWebhookConfiguration>,
) {
    (Api::all(cluster.client()), Api::all(cluster.client()))
}

/// What the API server trusts for each webhook; blank for one that has nothing.
async fn bundles(cluster: &Cluster) -> anyhow::Result<Vec<Vec<u8>>> {
    let (mutating, validating) = registrations(cluster);
    let mutating = mutating.get(REGISTRATION).await?;
    let validating = validating.get(REGISTRATION).await?;
    let configs = mutating
        .webhooks
        .into_iter()
        .flatten()
        .map(|webhook| webhook.client_config)
        .chain(
            validating
                .webhooks
                .into_iter()
                .flatten()
                .map(|webhook| webhook.client_config),
        );
    Ok(configs
        .map(|config| {
            config
                .ca_bundle
                .map_or_else(Vec::new, |bundle| bundle.0)
        })
        .collect())
}

async fn until_bundles_are(cluster: &Cluster, authority: &[u8]) -> anyhow::Result<()> {
    until("the authority in every webhook", LIMIT, async || {
        let all = bundles(cluster).await?;
        let carried = all
            .iter()
            .all(|bundle| bundle == authority);
        Ok((carried && !all.is_empty()).then_some(()))
    })
    .await
}

/// The authority in the Secret.
async fn authority(cluster: &Cluster) -> anyhow::Result<Option<Vec<u8>>> {
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), NAMESPACE);
    let secret = secrets.get_opt(SECRET).await?;
    Ok(secret
        .and_then(|secret| secret.data)
        .and_then(|mut data| data.remove("ca.crt"))
        .map(|authority| authority.0))
}

async fn delete_secret(cluster: &Cluster) -> anyhow::Result<()> {
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), NAMESPACE);
    match secrets
        .delete(SECRET, &DeleteParams::default())
        .await
    {
        Ok(_) => Ok(()),
        // The first test here has none to delete.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}
