//! Assembles a replica from its options, and runs its tasks.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::Client;
use tokio::{net::TcpListener, sync::watch};

use super::replica::Replica;
use crate::{
    admission::Policy,
    checks::{self, Installation},
    cli::tasks::Tasks,
    rejections::Retention,
    server::{
        Health,
        callers::client_auth::ClientAuthorities,
        certificates::{
            ca_bundle, directory, issue::Lifetimes, secret::SecretCertificates, trust::Trust,
        },
    },
    telemetry::CheckKind,
};

const CA_BUNDLE_MISSING: &str = "the registration does not hold our certificate authority yet";

/// The sockets that a replica listens on.
pub(super) struct Ports {
    pub(super) webhook: TcpListener,
    pub(super) metrics: TcpListener,
    pub(super) probes: TcpListener,
}

/// The options with which a replica serves.
pub(super) struct Serving {
    pub(super) ports: Ports,
    /// True if readers of the metrics are authorized.
    pub(super) authorizes_metrics: bool,
    /// The time for which requests are still answered after the signal to end.
    pub(super) drain: Duration,
    /// The manager's own namespace.
    pub(super) namespace: String,
    /// The name of this replica in Events and the Lease.
    pub(super) identity: String,
}

/// A replica that is being assembled.
pub(super) struct Assembly {
    replica: Replica,
    health: Health,
    tasks: Tasks,
}

impl Assembly {
    pub(super) fn new(client: Client, policy: Arc<Policy>, retention: Retention) -> Self {
        let replica = Replica::new(client, policy, retention);
        let mut health = Health::new(replica.shutdown.clone());
        let served = replica.certificate.clone();
        health.check("certificate", move || served.check(Timestamp::now()));
        Self {
            replica,
            health,
            tasks: Tasks::default(),
        }
    }

    /// Serves a certificate from a directory that another program maintains.
    pub(super) fn follow_certificates(&mut self, path: PathBuf) {
        let follow = directory::follow(
            path,
            directory::INTERVAL,
            self.replica.certificate.clone(),
            self.replica.shutdown.clone(),
        );
        self.tasks.spawn("certificates", follow);
    }

    /// Issues the certificate, shares it with the other replicas, and makes the API server trust it.
    pub(super) fn make_certificates(
        &mut self,
        namespace: &str,
        names: Vec<String>,
        lifetimes: Lifetimes,
    ) {
        let Replica {
            client,
            certificate,
            metrics,
            shutdown,
            ..
        } = &self.replica;
        let trust = watch::Sender::new(Trust::default());
        let certificates = SecretCertificates::new(
            client.clone(),
            namespace,
            names,
            lifetimes,
            certificate.clone(),
            trust.subscribe(),
        );
        let mut report = |name| ca_bundle::CaBundleReport {
            flag: self
                .health
                .flag(name, CA_BUNDLE_MISSING),
            contested: metrics.problem(CheckKind::CaBundle),
        };
        let [mutating, validating] =
            ["mutating-registration", "validating-registration"].map(&mut report);
        let keeper = ca_bundle::CaBundleKeepers {
            client: client.clone(),
            namespace: namespace.to_owned(),
            authorities: certificates.authorities(),
            trust,
            overlap: lifetimes.overlap(),
            mutating,
            validating,
        };
        self.tasks
            .spawn("certificates", certificates.follow(shutdown.clone()));
        self.tasks
            .spawn("registrations", keeper.keep(shutdown.clone()));
    }

    /// Rejects clients without a certificate issued by an authority in a file.
    pub(super) async fn authenticate_clients(
        &mut self,
        file: PathBuf,
        names: Vec<String>,
    ) -> anyhow::Result<()> {
        let clients = Arc::new(ClientAuthorities::new(names));
        clients.load(&file).await?;
        let shutdown = self.replica.shutdown.clone();
        let follow = clients
            .clone()
            .follow(file, directory::INTERVAL, shutdown);
        self.tasks
            .spawn("client-authorities", follow);
        self.replica.clients = Some(clients);
        Ok(())
    }

    /// Runs the periodic checks.
    pub(super) fn look_for_problems(&mut self, installation: Installation, every: Duration) {
        let watch = checks::watch(
            self.replica.client.clone(),
            installation,
            every,
            self.replica.metrics.clone(),
            self.replica.shutdown.clone(),
        );
        self.tasks.spawn("checks", watch);
    }

    /// Keeps the index up to date.
    pub(super) fn follow_index(&mut self) {
        let index = self.replica.index.clone();
        self.health.check("index", move || {
            if index.is_synced() {
                Ok(())
            } else {
                Err("waiting for the first list of Agents and Tools".into())
            }
        });
        self.tasks
            .spawn("index", self.replica.watch_index());
    }

    /// Runs all tasks, and shuts down in order.
    pub(super) async fn run(self, serving: Serving) -> anyhow::Result<()> {
        let Self {
            replica,
            health,
            mut tasks,
        } = self;
        let Serving {
            ports,
            authorizes_metrics,
            drain,
            namespace,
            identity,
        } = serving;
        let health = Arc::new(health);
        tasks.spawn_drained("webhooks", replica.serve_webhooks(ports.webhook, drain)?);
        tasks.spawn(
            "metrics",
            replica.serve_metrics(ports.metrics, authorizes_metrics)?,
        );
        tasks.spawn("probes", replica.serve_probes(ports.probes, health.clone()));
        tasks.spawn("rejections", replica.write_rejections());
        tasks.spawn_drained("leader", replica.lead(health, namespace, identity));
        tasks.run(&replica.shutdown).await
    }
}
