//! Helpers for commands that read a cluster: a runtime, and the settings of the running manager.

use std::future::Future;

use anyhow::{Context, anyhow};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client, Error};

use super::settings::{self, Variables};
use crate::api::{MANAGER, MANAGER_NAMESPACE, Readable};

/// Runs an asynchronous command on this thread.
///
/// # Errors
///
/// The command's own, or the runtime cannot be started.
pub(super) fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")?
        .block_on(command)
}

/// Reads the environment of the running manager. RBAC: `get` on its Deployment.
///
/// # Errors
///
/// The Deployment does not exist or may not be read.
pub(super) async fn manager_settings(client: &Client) -> anyhow::Result<Variables> {
    let deployment = Api::<Readable<Deployment>>::namespaced(client.clone(), MANAGER_NAMESPACE)
        .get(MANAGER)
        .await
        .map_err(said)
        .with_context(|| {
            format!("the Deployment `{MANAGER}` in `{MANAGER_NAMESPACE}` cannot be read")
        })?;
    settings::of_deployment(&serde_json::to_value(deployment)?)
}

/// The API server's own message, without the wrapping of the client.
pub(super) fn said(error: Error) -> anyhow::Error {
    match error {
        Error::Api(status) => anyhow!(status.message),
        error => error.into(),
    }
}
