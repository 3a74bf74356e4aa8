//! How replicas and the API server come to share one certificate authority, and keep it.

use std::time::Duration;

use agentkube::server::certificates::issue::{CertificateAuthority, service_names};
use agentkube_playground::{Manager, ManagerOptions, until};
use anyhow::{Context, ensure};
use k8s_openapi::api::{
    admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
    core::v1::Secret,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{
    cluster::{Cluster, LIMIT, NAMESPACE, REGISTRATION, SECRET, agent},
    harness::{Test, tests},
    rotation::handshakes,
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane:
        replicas_that_start_at_once_agree_on_one_authority,
        a_wiped_ca_bundle_comes_back,
        a_deleted_secret_is_issued_anew_and_admission_goes_on,
        a_spoilt_secret_is_mended_and_no_call_fails,
    ]
}

async fn replicas_that_start_at_once_agree_on_one_authority(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    cluster.delete_secret().await?;
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
    // Behind it may stand what the manager of an earlier test left; that goes after a while.
    ensure!(
        bundles(cluster)
            .await?
            .iter()
            .all(|bundle| bundle.starts_with(&authority)),
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
    cluster.delete_secret().await?;
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

async fn a_spoilt_secret_is_mended_and_no_call_fails(cluster: &Cluster) -> anyhow::Result<()> {
    // Short lives, so that a foreign authority is trusted, and served, within the test.
    let options = ManagerOptions {
        args: ["--certificate-lifetime=30s", "--authority-lifetime=60s"]
            .map(str::to_owned)
            .to_vec(),
        ..cluster.manager_options(&[])
    };
    let manager = cluster
        .start_manager_with(options)
        .await?;
    let namespace = cluster.namespace("spoilt").await?;
    let calls = async || -> anyhow::Result<std::convert::Infallible> {
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let object = agent("bot", &json!({"runtime": "Codex"}));
        let object = serde_json::from_value(object)?;
        let api = namespace.api("Agent");
        loop {
            api.create(&dry_run, &object).await?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let spoil = async {
        let (foreign_ca, foreign_chain, foreign_key) = foreign_pair()?;
        let nonsense = "nonsense".to_owned();
        for (what, fields) in [
            (
                "emptied",
                vec![
                    ("ca.crt", ""),
                    ("ca.key", ""),
                    ("tls.crt", ""),
                    ("tls.key", ""),
                ],
            ),
            ("a foreign key", vec![("tls.key", foreign_key.as_str())]),
            (
                "another authority's key",
                vec![("ca.key", foreign_key.as_str()), ("tls.crt", "")],
            ),
            (
                "nonsense",
                vec![
                    ("ca.crt", nonsense.as_str()),
                    ("tls.crt", nonsense.as_str()),
                ],
            ),
            (
                "somebody's own pair",
                vec![
                    ("ca.crt", foreign_ca.as_str()),
                    ("tls.crt", foreign_chain.as_str()),
                    ("tls.key", foreign_key.as_str()),
                ],
            ),
        ] {
            let before = expiry_logged(&manager);
            overwrite(cluster, &fields).await?;
            // Served, after it was mended or, where there was nothing to mend, as it is.
            until(what, LIMIT, async || {
                Ok((expiry_logged(&manager) > before).then_some(()))
            })
            .await
            .with_context(|| manager.log())?;
        }
        until_bundles_are(cluster, foreign_ca.as_bytes()).await
    };
    let outcome: anyhow::Result<()> = tokio::select! {
        failed = calls() => failed.map(|never| match never {}),
        // The API server's own connections may be older than what is served.
        failed = handshakes(cluster, manager.webhook_port()) => failed.map(|never| match never {}),
        done = spoil => done,
    };
    outcome.with_context(|| manager.log())
}

/// How often the manager said that it serves another certificate of the Secret.
fn expiry_logged(manager: &Manager) -> usize {
    manager
        .log()
        .matches("the certificate of the Secret is served")
        .count()
}

/// An authority of somebody else, a certificate of it for our names, and its key.
fn foreign_pair() -> anyhow::Result<(String, String, String)> {
    let hour = Duration::from_secs(3600);
    let now = jiff::Timestamp::now();
    let authority = CertificateAuthority::new(hour, now)?;
    let mut names = service_names(REGISTRATION, NAMESPACE);
    names.push("127.0.0.1".to_owned());
    let leaf = authority.issue(&names, hour, now)?;
    Ok((
        authority.certificate_pem().to_owned(),
        leaf.chain_pem,
        leaf.key_pem,
    ))
}

/// Replaces what stands in the Secret.
async fn overwrite(cluster: &Cluster, fields: &[(&str, &str)]) -> anyhow::Result<()> {
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), NAMESPACE);
    let fields: serde_json::Map<_, _> = fields
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect();
    let patch = json!({"stringData": fields});
    secrets
        .patch(SECRET, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
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
