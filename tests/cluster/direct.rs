//! Reviews straight to a manager, past the API server.

use agentkube_playground::Manager;
use anyhow::Context;
use http::{Request, header};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use crate::cluster::Cluster;

/// Sends what an API server would send.
#[derive(Clone)]
pub(crate) struct Direct(Client);

impl Direct {
    pub(crate) async fn to(cluster: &Cluster, manager: &Manager) -> anyhow::Result<Self> {
        let secrets: Api<Secret> = Api::namespaced(cluster.client(), "agentkube-system");
        let data = secrets
            .get("agentkube-webhook-tls")
            .await?
            .data
            .unwrap_or_default();
        let authority = data
            .get("ca.crt")
            .context("the Secret holds an authority")?;
        let url = format!("https://127.0.0.1:{}", manager.webhook_port());
        let mut config = Config::new(url.parse()?);
        let path = cluster
            .control_plane
            .directory()
            .join("webhook-ca.crt");
        std::fs::write(&path, &authority.0)?;
        config.root_cert_file = Some(path);
        config.proxy_url = None;
        Ok(Self(Client::try_from(config)?))
    }

    /// Asks a webhook, and returns its whole answer.
    pub(crate) async fn ask(&self, webhook: &str, request: &Value) -> anyhow::Result<Value> {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request,
        });
        let request = Request::post(format!("/{webhook}?timeout=10s"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(review.to_string().into_bytes())?;
        Ok(self.0.request(request).await?)
    }
}

/// A request to create an Agent.
pub(crate) fn creation(namespace: &str, name: &str, user: &str, spec: &Value) -> Value {
    json!({
        "uid": "6b2f2a2e-0000-4000-8000-000000000002",
        "kind": {"group": "agentkube.io", "version": "v1alpha1", "kind": "Agent"},
        "resource": {"group": "agentkube.io", "version": "v1alpha1", "resource": "agents"},
        "operation": "CREATE", "namespace": namespace, "name": name,
        "userInfo": {"username": user},
        "object": {
            "apiVersion": "agentkube.io/v1alpha1", "kind": "Agent",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec,
        },
    })
}
