//! The authority of the webhooks' certificates.

use anyhow::Context;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

const NAMESPACE: &str = "agentkube-system";
const SECRET: &str = "agentkube-webhook-tls";

/// Reads the authority, in PEM, from the Secret that the manager keeps it in.
///
/// # Errors
///
/// There is none before a manager was ready.
pub async fn webhook_authority(client: Client) -> anyhow::Result<Vec<u8>> {
    let secret = Api::<Secret>::namespaced(client, NAMESPACE)
        .get(SECRET)
        .await?;
    let authority = secret
        .data
        .and_then(|mut data| data.remove("ca.crt"))
        .with_context(|| format!("the Secret `{SECRET}` has no `ca.crt`"))?;
    Ok(authority.0)
}
