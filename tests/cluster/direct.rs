//! Reviews straight to a manager, past the API server.

use agentkube_playground::{Manager, webhook_authority};
use http::{Request, header};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::cluster::Cluster;

/// Sends what an API server would send.
#[derive(Clone)]
pub(crate) struct Direct(Client);

impl Direct {
    pub(crate) async fn to(cluster: &Cluster, manager: &Manager) -> anyhow::Result<Self> {
        let config = config(cluster, manager.webhook_port()).await?;
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

/// Reaches a port of a manager over TLS, trusting the authority of its webhooks.
pub(crate) async fn config(cluster: &Cluster, port: u16) -> anyhow::Result<Config> {
    let path = cluster
        .control_plane
        .directory()
        .join(format!("authority-{port}.crt"));
    std::fs::write(&path, webhook_authority(cluster.client()).await?)?;
    let mut config = Config::new(format!("https://127.0.0.1:{port}").parse()?);
    config.root_cert_file = Some(path);
    config.proxy_url = None;
    Ok(config)
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
