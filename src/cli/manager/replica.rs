//! One replica of the manager: its parts, and each of its tasks as a future.

use std::{sync::Arc, time::Duration};

use axum::Router;
use kube::Client;
use rustls::ServerConfig;
use tokio::net::TcpListener;

use crate::{
    admission::Policy,
    index::Index,
    leader::Candidate,
    reconciler,
    rejections::{Recorder, Retention, retain},
    server::{
        Health, Limits, ServingCertificate, Shutdown,
        callers::{client_auth::ClientAuthorities, metrics_authorization::MetricsAuthorizer},
        match_condition, serve, tls,
        webhook::Webhooks,
    },
    telemetry::{ConnectionMetrics, Metrics},
};

/// The state that the tasks of a replica share.
pub(super) struct Replica {
    pub(super) client: Client,
    pub(super) policy: Arc<Policy>,
    pub(super) retention: Retention,
    pub(super) index: Arc<Index>,
    pub(super) certificate: Arc<ServingCertificate>,
    /// The authorities of client certificates; `None` if any client is accepted.
    pub(super) clients: Option<Arc<ClientAuthorities>>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) metrics: Metrics,
    pub(super) shutdown: Shutdown,
}

impl Replica {
    pub(super) fn new(client: Client, policy: Arc<Policy>, retention: Retention) -> Self {
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"));
        Self {
            client,
            policy,
            retention,
            index: Arc::default(),
            certificate: Arc::new(ServingCertificate::new(metrics.certificate_expiry())),
            clients: None,
            recorder: Arc::new(Recorder::new(retention, metrics.rejections())),
            metrics,
            shutdown: Shutdown::new(),
        }
    }

    /// Follows Agents and Tools.
    pub(super) fn watch_index(&self) -> impl Future<Output = ()> + use<> {
        let (index, client) = (self.index.clone(), self.client.clone());
        let (unreadable, shutdown) = (self.metrics.unreadable(), self.shutdown.clone());
        async move {
            tokio::select! {
                () = index.watch(client, &unreadable) => {}
                () = shutdown.finished() => {}
            }
        }
    }

    pub(super) fn serve_webhooks(
        &self,
        port: TcpListener,
        drain: Duration,
    ) -> anyhow::Result<impl Future<Output = ()> + use<>> {
        let webhooks = Webhooks::new(
            self.policy.clone(),
            self.index.clone(),
            self.client.clone(),
            self.metrics.clone(),
            self.recorder.clone(),
        );
        let tls = tls::server_config(self.certificate.clone(), self.clients.clone())?;
        Ok(serve(
            port,
            Some(tls),
            webhooks.router(),
            Limits::webhook(drain),
            self.metrics.connections(),
            self.shutdown.clone(),
        ))
    }

    /// Serves metrics: over TLS if readers are authorized, to protect their tokens, else over plain
    /// HTTP.
    pub(super) fn serve_metrics(
        &self,
        port: TcpListener,
        is_authorized: bool,
    ) -> anyhow::Result<impl Future<Output = ()> + use<>> {
        let router = self.metrics.router();
        Ok(if is_authorized {
            let tls = tls::server_config(self.certificate.clone(), None)?;
            let router = MetricsAuthorizer::new(self.client.clone()).guard(router);
            self.serve_auxiliary(port, Some(tls), router)
        } else {
            self.serve_auxiliary(port, None, router)
        })
    }

    pub(super) fn serve_probes(
        &self,
        port: TcpListener,
        health: Arc<Health>,
    ) -> impl Future<Output = ()> + use<> {
        self.serve_auxiliary(port, None, health.router())
    }

    fn serve_auxiliary(
        &self,
        port: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        router: Router,
    ) -> impl Future<Output = ()> + use<> {
        let uncounted = ConnectionMetrics::default();
        let (limits, shutdown) = (Limits::auxiliary(), self.shutdown.clone());
        serve(port, tls, router, limits, uncounted, shutdown)
    }

    /// Writes Rejections until after the last answer, so every refusal is recorded.
    pub(super) fn write_rejections(&self) -> impl Future<Output = ()> + use<> {
        let (client, recorder) = (self.client.clone(), self.recorder.clone());
        let shutdown = self.shutdown.clone();
        async move {
            recorder
                .write(client, shutdown.finished())
                .await;
        }
    }

    /// While this replica leads: reconciles, enforces the limits of Rejections, and maintains the match
    /// condition.
    pub(super) fn lead(
        &self,
        health: Arc<Health>,
        namespace: String,
        identity: String,
    ) -> impl Future<Output = ()> + use<> {
        let (client, policy, retention) =
            (self.client.clone(), self.policy.clone(), self.retention);
        let (metrics, shutdown) = (self.metrics.clone(), self.shutdown.clone());
        async move {
            // Pods are created only once this replica can answer for them.
            tokio::select! {
                () = health.ready() => {}
                () = shutdown.draining() => return,
            }
            let unreadable = metrics.unreadable();
            let candidate =
                Candidate::new(client.clone(), &namespace, &identity).counting(&unreadable);
            let expression = policy.validation_match_condition();
            let lead = async || {
                futures::join!(
                    reconciler::run(
                        client.clone(),
                        policy.clone(),
                        identity.clone(),
                        &unreadable
                    ),
                    retain(client.clone(), retention, metrics.rejections(), &unreadable),
                    match_condition::keep(client.clone(), &expression),
                );
            };
            candidate
                .run(|leads| metrics.leads(leads), lead, shutdown.draining())
                .await;
        }
    }
}
