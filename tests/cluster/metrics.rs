//! Metrics behind the API server's own authentication and authorization.

use agentkube_playground::{ManagerOptions, Proxy, until};
use anyhow::ensure;
use http::{Request, header};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use crate::{
    checks::check,
    cluster::{Cluster, LIMIT},
    direct::config,
    harness::{Test, tests},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane: metrics_are_for_those_alone_who_may_read_them]
}

/// What the component gives the manager beyond what the base does.
const RIGHTS: &str = include_str!("../../manifests/components/metrics-authorization/rbac.yaml");

async fn metrics_are_for_those_alone_who_may_read_them(cluster: &Cluster) -> anyhow::Result<()> {
    let admin = cluster.control_plane.admin_kubeconfig();
    let said = check(cluster, admin, &["--metrics-authorization"]).await?;
    said.line(
        "error    permissions    `system:serviceaccount:agentkube-system:agentkube-manager` may not create tokenreviews \
         (hint: the component `metrics-authorization`, or `metricsAuthorization: true` in Helm, grants them)",
    )?;
    let applied = cluster
        .kubectl(&["apply", "--filename", "-"], RIGHTS)
        .await?;
    ensure!(applied.success, "{}", applied.stderr);
    let read = metrics_are_read(cluster).await;
    let deleted = cluster
        .kubectl(&["delete", "--filename", "-"], RIGHTS)
        .await?;
    ensure!(deleted.success, "{}", deleted.stderr);
    read
}

async fn metrics_are_read(cluster: &Cluster) -> anyhow::Result<()> {
    let proxy = Proxy::start(&cluster.control_plane).await?;
    let options = ManagerOptions {
        args: vec!["--metrics-authorization".to_owned()],
        env: vec![(
            "KUBECONFIG".to_owned(),
            proxy
                .kubeconfig(&cluster.control_plane, "proxied")
                .await?,
        )],
        ..cluster.manager_options(&[])
    };
    let manager = cluster
        .start_manager_with(options)
        .await?;
    let metrics = Reader::of(cluster, manager.metrics_port()).await?;
    ensure!(
        manager.metrics().await.is_err(),
        "metrics are served over plain HTTP"
    );

    ensure!(metrics.status(None).await? == 401, "without a token");
    ensure!(metrics.status(Some("made-up")).await? == 401, "made up");

    let namespace = cluster.namespace("metrics").await?;
    let token = token(cluster, &namespace.name).await?;
    ensure!(
        metrics.status(Some(&token)).await? == 403,
        "without a right"
    );

    let bindings: Api<ClusterRoleBinding> = Api::all(cluster.client());
    let name = format!("reader-of-{}", namespace.name);
    let binding = json!({
        "metadata": {"name": name},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": "agentkube-metrics-reader",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace.name}],
    });
    bindings
        .create(&PostParams::default(), &serde_json::from_value(binding)?)
        .await?;
    until("the right to count", LIMIT, async || {
        Ok((metrics.status(Some(&token)).await? == 200).then_some(()))
    })
    .await?;

    // A right that was taken away ends, too, within the 10 s that a yes is remembered.
    bindings
        .delete(&name, &DeleteParams::default())
        .await?;
    until("the right to end", LIMIT, async || {
        Ok((metrics.status(Some(&token)).await? == 403).then_some(()))
    })
    .await?;

    // Nobody is let in while the API server does not answer.
    proxy.freeze_everything();
    until("the last answer to be forgotten", LIMIT, async || {
        Ok((metrics.status(Some(&token)).await? == 503).then_some(()))
    })
    .await?;
    ensure!(metrics.status(Some("made-up")).await? == 503, "made up");
    ensure!(metrics.status(None).await? == 401, "without a token");
    proxy.thaw();
    Ok(())
}

/// Reads metrics over TLS, trusting what the Secret says.
struct Reader(Client);

impl Reader {
    async fn of(cluster: &Cluster, port: u16) -> anyhow::Result<Self> {
        let mut config = config(cluster, port).await?;
        // Or the client itself would try again what is answered with 503.
        config.default_retry = false;
        Ok(Self(Client::try_from(config)?))
    }

    async fn status(&self, token: Option<&str>) -> anyhow::Result<u16> {
        let mut request = Request::get("/metrics");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(kube::client::Body::empty())?;
        Ok(self
            .0
            .send(request)
            .await?
            .status()
            .as_u16())
    }
}

async fn token(cluster: &Cluster, namespace: &str) -> anyhow::Result<String> {
    let words = ["create", "token", "default", "--namespace", namespace];
    let said = cluster.kubectl(&words, "").await?;
    ensure!(said.success, "{}", said.stderr);
    Ok(said.stdout.trim().to_owned())
}
