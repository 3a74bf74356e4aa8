use std::{iter, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use jiff::Timestamp;
use kube::Client;
use tokio::{net::TcpListener, sync::watch};

use super::{
    check,
    client::client,
    duration,
    logging::{self, LogFormat},
    settings,
    tasks::Tasks,
};
use crate::{
    admission::{Policy, SETTINGS, SettingValue},
    api::{MANAGER, MANAGER_NAMESPACE},
    checks::{self, Installation},
    index::Index,
    leader::Candidate,
    reconciler,
    rejections::{Recorder, Retention, retain},
    server::{
        Health, Limits, ServingCertificate, Shutdown, bind,
        certificates::{
            ca_bundle, directory,
            issue::{Lifetimes, service_names},
            secret::SecretCertificates,
            trust::Trust,
        },
        client_auth::ClientAuthorities,
        metrics_authorization::MetricsAuthorizer,
        serve, suspects, tls,
        webhook::Webhooks,
    },
    telemetry::{CheckKind, ConnectionMetrics, Metrics},
};

const CA_BUNDLE_MISSING: &str = "the registration does not hold our certificate authority yet";

/// Serve the webhooks and run the reconciler, in a cluster.
#[derive(clap::Args, Debug)]
#[command(after_help = after_help())]
pub(super) struct Args {
    /// Say what would keep a manager with these settings from working, a line each, and start nothing
    #[arg(long)]
    check: bool,
    /// How often a running manager looks for the same
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration::parse)]
    check_interval: Duration,
    /// Where the webhooks are served, over TLS
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:9443")]
    webhook_address: SocketAddr,
    /// Where metrics are served
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:8080")]
    metrics_address: SocketAddr,
    /// Where liveness and readiness are served
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:8081")]
    probe_address: SocketAddr,
    /// The manager's own namespace
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "POD_NAMESPACE",
        default_value = MANAGER_NAMESPACE
    )]
    namespace: String,
    /// The name of this replica in Events and, with a random part behind it, in the leader's Lease
    #[arg(
        long,
        value_name = "NAME",
        env = "POD_NAME",
        hide_env_values = true,
        default_value = MANAGER
    )]
    identity: String,
    /// A further DNS name or IP address for the certificate that the manager makes itself
    #[arg(long, value_name = "NAME")]
    serving_name: Vec<String>,
    /// Serve tls.crt and tls.key of this directory, and make no certificate
    #[arg(long, value_name = "DIR")]
    tls_dir: Option<PathBuf>,
    /// How long a certificate lives that the manager makes itself; it is renewed at two thirds of it
    #[arg(long, value_name = "TIME", default_value = "365d", value_parser = duration::parse)]
    certificate_lifetime: Duration,
    /// The same for the certificate authority that the manager makes itself
    #[arg(long, value_name = "TIME", default_value = "3650d", value_parser = duration::parse)]
    authority_lifetime: Duration,
    /// Answer only clients of the webhook port that show a certificate of the authorities in this file
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// A name that such a certificate has to carry, as its common name or a DNS name; any if not given
    #[arg(long, value_name = "NAME", requires = "client_ca")]
    client_name: Vec<String>,
    /// Serve metrics over TLS, to bearers of a token whose user may get the path /metrics
    #[arg(long)]
    metrics_authorization: bool,
    /// How long requests are still answered after SIGTERM, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    drain_delay: u64,
    /// How many Rejections a namespace keeps; beyond that the oldest go
    #[arg(long, value_name = "NUMBER", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=4096))]
    rejections_per_namespace: u16,
    /// How long after it was last seen a Rejection is kept, such as 12h or 30d
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = duration::parse)]
    rejections_max_age: Duration,
    /// How log lines are written; what is logged is set by `RUST_LOG`
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

/// The help below the options: the settings, of which [`SETTINGS`] is the list.
fn after_help() -> String {
    let one_image = (
        "AGENTKUBE_IMAGE_<ROW>",
        "one image, cluster-wide".to_owned(),
    );
    let settings = SETTINGS.iter().map(|setting| {
        let help = match setting.value {
            SettingValue::List => format!("{}: a comma list", setting.help),
            SettingValue::Text => setting.help.to_owned(),
            SettingValue::Switch | SettingValue::Word(_) => {
                format!("{}: {}", setting.help, setting.value.words().join(", "))
            }
        };
        (setting.name, help)
    });
    let lines: Vec<_> = iter::once(one_image)
        .chain(settings)
        .collect();
    let width = lines
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or_default();
    let lines: Vec<_> = lines
        .iter()
        .map(|(name, help)| format!("  {name:width$}  {help}"))
        .collect();
    format!(
        "\
Settings are environment variables, see the README:
{}

Exit status of --check: 0 if a manager would work, 1 if something keeps it from working.

Examples:
  AGENTKUBE_IMAGE_REGISTRY=registry.example.com/mirror agentkube manager
  agentkube manager --check",
        lines.join("\n")
    )
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    logging::start(args.log_format);
    let policy = settings::from_environment();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")?;
    if args.check {
        return runtime.block_on(check(args, policy));
    }
    let policy = policy.context("the manager does not start")?;
    runtime.block_on(manage(args, policy))?;
    Ok(ExitCode::SUCCESS)
}

/// Says what would be wrong, and starts nothing.
async fn check(args: Args, policy: anyhow::Result<Policy>) -> anyhow::Result<ExitCode> {
    let mut wrong = Vec::new();
    wrong.extend(lifetimes(&args).err());
    if let Some(file) = &args.client_ca {
        let clients = ClientAuthorities::default();
        wrong.extend(
            clients
                .load(file)
                .await
                .err()
                .map(anyhow::Error::from),
        );
    }
    let authorizes_references = match policy {
        Ok(policy) => policy.authorize_references,
        Err(error) => {
            wrong.push(error);
            true
        }
    };
    let subject = subject(&args, authorizes_references);
    check::run(&wrong, client().await, &subject).await
}

fn lifetimes(args: &Args) -> anyhow::Result<Lifetimes> {
    Ok(Lifetimes::new(
        args.authority_lifetime,
        args.certificate_lifetime,
    )?)
}

/// The installation that this manager is of.
fn subject(args: &Args, authorizes_references: bool) -> Installation {
    let mut names = service_names(MANAGER, &args.namespace);
    names.extend(args.serving_name.iter().cloned());
    Installation {
        namespace: args.namespace.clone(),
        names,
        tls_dir: args.tls_dir.clone(),
        authorizes_references,
        authorizes_metrics: args.metrics_authorization,
    }
}

async fn manage(args: Args, policy: Policy) -> anyhow::Result<()> {
    let lifetimes = lifetimes(&args)?;
    let subject = subject(&args, policy.authorize_references);
    let Args {
        check: _,
        check_interval,
        webhook_address,
        metrics_address,
        probe_address,
        namespace,
        identity,
        serving_name: _,
        tls_dir,
        certificate_lifetime: _,
        authority_lifetime: _,
        client_ca,
        client_name,
        metrics_authorization,
        drain_delay,
        rejections_per_namespace,
        rejections_max_age,
        log_format: _,
    } = args;
    let retention = Retention {
        per_namespace: rejections_per_namespace.into(),
        max_age: rejections_max_age,
        ..Retention::default()
    };
    let ports = Ports {
        webhook: bind(webhook_address, "--webhook-address")?,
        metrics: bind(metrics_address, "--metrics-address")?,
        probes: bind(probe_address, "--probe-address")?,
    };
    let mut replica = Replica::new(client().await?, Arc::new(policy), retention);
    if let Some(directory) = tls_dir {
        replica.follow_certificates(directory);
    } else {
        replica.make_certificates(&namespace, subject.names.clone(), lifetimes);
    }
    if let Some(file) = client_ca {
        replica
            .authenticate_clients(file, client_name)
            .await?;
    }
    replica.authorizes_metrics = metrics_authorization;
    replica.follow_index();
    replica.look_for_problems(subject, check_interval);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %webhook_address, "the manager has started");
    replica
        .run(ports, Duration::from_secs(drain_delay), namespace, identity)
        .await
}

/// What a replica listens on.
struct Ports {
    webhook: TcpListener,
    metrics: TcpListener,
    probes: TcpListener,
}

/// One replica of the manager, put together piece by piece.
struct Replica {
    client: Client,
    policy: Arc<Policy>,
    retention: Retention,
    index: Arc<Index>,
    certificate: Arc<ServingCertificate>,
    clients: Option<Arc<ClientAuthorities>>,
    authorizes_metrics: bool,
    health: Health,
    metrics: Metrics,
    shutdown: Shutdown,
    tasks: Tasks,
}

impl Replica {
    fn new(client: Client, policy: Arc<Policy>, retention: Retention) -> Self {
        let shutdown = Shutdown::new();
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"));
        let certificate = Arc::new(ServingCertificate::new(metrics.certificate_expiry()));
        let mut health = Health::new(shutdown.clone());
        let served = certificate.clone();
        health.check("certificate", move || served.check(Timestamp::now()));
        Self {
            client,
            policy,
            retention,
            index: Arc::default(),
            certificate,
            clients: None,
            authorizes_metrics: false,
            health,
            metrics,
            shutdown,
            tasks: Tasks::default(),
        }
    }

    /// Serves the certificate that somebody else puts into a directory.
    fn follow_certificates(&mut self, path: PathBuf) {
        let (certificate, shutdown) = (self.certificate.clone(), self.shutdown.clone());
        let follow = directory::follow(path, directory::INTERVAL, certificate, shutdown);
        self.tasks.spawn("certificates", follow);
    }

    /// Makes the certificate, shares it with the other replicas, and has the API server trust it.
    fn make_certificates(&mut self, namespace: &str, names: Vec<String>, lifetimes: Lifetimes) {
        let trust = watch::Sender::new(Trust::default());
        let certificates = SecretCertificates::new(
            self.client.clone(),
            namespace,
            names,
            lifetimes,
            self.certificate.clone(),
            trust.subscribe(),
        );
        let mut report = |name| ca_bundle::CaBundleReport {
            flag: self
                .health
                .flag(name, CA_BUNDLE_MISSING),
            contested: self
                .metrics
                .problem(CheckKind::CaBundle),
        };
        let [mutating, validating] =
            ["mutating-registration", "validating-registration"].map(&mut report);
        let keeper = ca_bundle::CaBundleKeepers {
            client: self.client.clone(),
            namespace: namespace.to_owned(),
            authorities: certificates.authorities(),
            trust,
            overlap: lifetimes.overlap(),
            mutating,
            validating,
        };
        self.tasks
            .spawn("certificates", certificates.follow(self.shutdown.clone()));
        self.tasks
            .spawn("registrations", keeper.keep(self.shutdown.clone()));
    }

    /// Turns away whoever shows no certificate of the authorities in a file.
    async fn authenticate_clients(
        &mut self,
        file: PathBuf,
        names: Vec<String>,
    ) -> anyhow::Result<()> {
        let clients = Arc::new(ClientAuthorities::new(names));
        clients.load(&file).await?;
        let follow = clients
            .clone()
            .follow(file, directory::INTERVAL, self.shutdown.clone());
        self.tasks
            .spawn("client-authorities", follow);
        self.clients = Some(clients);
        Ok(())
    }

    /// Looks for what is wrong around this replica.
    fn look_for_problems(&mut self, subject: Installation, every: Duration) {
        let watch = checks::watch(
            self.client.clone(),
            subject,
            every,
            self.metrics.clone(),
            self.shutdown.clone(),
        );
        self.tasks.spawn("checks", watch);
    }

    /// Keeps the index up to date.
    fn follow_index(&mut self) {
        let index = self.index.clone();
        self.health.check("index", move || {
            if index.is_synced() {
                Ok(())
            } else {
                Err("waiting for the first list of Agents and Tools".into())
            }
        });
        let (index, client, shutdown) = (
            self.index.clone(),
            self.client.clone(),
            self.shutdown.clone(),
        );
        let unreadable = self.metrics.unreadable();
        self.tasks.spawn("index", async move {
            tokio::select! {
                () = index.watch(client, &unreadable) => {}
                () = shutdown.finished() => {}
            }
        });
    }

    /// Listens, reconciles, and ends in order when it is told to.
    async fn run(
        self,
        ports: Ports,
        drain: Duration,
        namespace: String,
        identity: String,
    ) -> anyhow::Result<()> {
        let Self {
            client,
            policy,
            retention,
            index,
            certificate,
            clients,
            authorizes_metrics,
            health,
            metrics,
            shutdown,
            mut tasks,
        } = self;
        let recorder = Arc::new(Recorder::new(retention, metrics.rejections()));
        let webhooks = Webhooks::new(
            policy.clone(),
            index,
            client.clone(),
            metrics.clone(),
            recorder.clone(),
        );
        let health = Arc::new(health);

        tasks.spawn_drained(
            "webhooks",
            serve(
                ports.webhook,
                Some(tls::server_config(certificate.clone(), clients)?),
                webhooks.router(),
                Limits::webhook(drain),
                metrics.connections(),
                shutdown.clone(),
            ),
        );
        let (metrics_tls, metrics_router) = if authorizes_metrics {
            // Over plain HTTP everybody on the way would have the token.
            let authorizer = MetricsAuthorizer::new(client.clone());
            let tls = tls::server_config(certificate.clone(), None)?;
            (Some(tls), authorizer.guard(metrics.router()))
        } else {
            (None, metrics.router())
        };
        for (name, port, tls, router) in [
            ("metrics", ports.metrics, metrics_tls, metrics_router),
            ("probes", ports.probes, None, health.clone().router()),
        ] {
            let uncounted = ConnectionMetrics::default();
            tasks.spawn(
                name,
                serve(
                    port,
                    tls,
                    router,
                    Limits::auxiliary(),
                    uncounted,
                    shutdown.clone(),
                ),
            );
        }
        // After the last answer, so that nothing that was refused is forgotten.
        let (writer, finish) = (client.clone(), shutdown.clone());
        tasks.spawn("rejections", async move {
            recorder
                .write(writer, finish.finished())
                .await;
        });
        let stop = shutdown.clone();
        tasks.spawn_drained("leader", async move {
            // Pods are created only once this replica can answer for them.
            tokio::select! {
                () = health.ready() => {}
                () = stop.draining() => return,
            }
            let unreadable = metrics.unreadable();
            let candidate =
                Candidate::new(client.clone(), &namespace, &identity).counting(&unreadable);
            let expression = policy.suspects();
            let lead = async || {
                futures::join!(
                    reconciler::run(
                        client.clone(),
                        policy.clone(),
                        identity.clone(),
                        &unreadable
                    ),
                    retain(client.clone(), retention, metrics.rejections(), &unreadable),
                    suspects::single_out(client.clone(), &expression),
                );
            };
            candidate
                .run(|leads| metrics.leads(leads), lead, stop.draining())
                .await;
        });
        tasks.run(&shutdown).await
    }
}
