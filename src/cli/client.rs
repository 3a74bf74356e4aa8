//! The connection to the cluster of the current kubeconfig or ServiceAccount.

use anyhow::{Context, anyhow};
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt, retry::RetryPolicy},
};
use rustls::crypto::aws_lc_rs;
use tower::{BoxError, ServiceBuilder, retry::RetryLayer};

/// Connects to the cluster of the current kubeconfig or ServiceAccount.
///
/// # Errors
///
/// No cluster is configured, or the configuration cannot be used.
pub(super) async fn client() -> anyhow::Result<Client> {
    // The message names every place that was tried; its sources only repeat it.
    let config = Config::infer().await.map_err(|error| {
        anyhow!(
            "no cluster to connect to: {error} (hint: set KUBECONFIG to a kubeconfig file that can be \
             read, or run in a pod with a ServiceAccount)"
        )
    })?;
    connect(config).context("the cluster's configuration cannot be used")
}

/// kube's own client with `TCP_NODELAY`. With Nagle's algorithm the first request of a connection, and
/// every body, waits for the API server's delayed acknowledgement, which takes 40 ms.
fn connect(config: Config) -> kube::Result<Client> {
    // Proxies and short-lived certificates of exec plugins are left to kube's own client.
    let is_special = config.proxy_url.is_some() || config.auth_info.exec.is_some();
    if is_special {
        return Client::try_from(config);
    }
    // An error means that a provider is already installed.
    let _ = aws_lc_rs::default_provider().install_default();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(connector);
    let retry = config
        .default_retry
        .then(|| RetryLayer::new(RetryPolicy::server_retry()));
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(retry)
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace))
}
