//! Certificates that renew themselves, authority and all, while two replicas are called.

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use agentkube_playground::{Manager, ManagerOptions, Proxy, until};
use anyhow::{Context, ensure};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::{Api, api::PostParams};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, IpAddr, ServerName, pem::PemObject},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_rustls::TlsConnector;

use crate::{
    cluster::{Cluster, Namespace, REGISTRATION, agent},
    harness::{Test, tests},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane:
        certificates_and_authorities_are_renewed_without_a_failed_call,
        a_replica_that_is_cut_off_is_trusted_until_its_certificate_ends,
    ]
}

/// An authority is announced after 23 s of its 36, and signs 2 s later.
const LIFETIMES: [&str; 2] = ["--certificate-lifetime=12s", "--authority-lifetime=36s"];

/// How late an API server may be: it has to be within the 2 s for which an authority is announced.
const LATEST: Duration = Duration::from_millis(1500);

/// How long it may take until three authorities have signed: twice what it takes.
const LIMIT: Duration = Duration::from_secs(120);

async fn certificates_and_authorities_are_renewed_without_a_failed_call(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    cluster.delete_secret().await?;
    let (mut first, mut second) = futures::try_join!(
        start(cluster, "agentkube-manager-1"),
        start(cluster, "agentkube-manager-2")
    )?;
    let replicas = [first.webhook_port(), second.webhook_port()];
    let balancer = Balancer::start(replicas).await?;
    {
        let mut installation = cluster.installation.lock().await;
        installation
            .point_webhooks_at(balancer.port)
            .await?;
        installation
            .until_webhooks_answer()
            .await?;
    }
    let namespace = cluster.namespace("rotation").await?;
    let calls = AtomicUsize::new(0);
    let seen = tokio::select! {
        failed = load(&namespace, &calls) => failed.map(|never| match never {}),
        seen = watch_handshakes(cluster, replicas) => seen,
    };
    let logs = || format!("{}\n{}", first.log(), second.log());
    let seen = seen.with_context(logs)?;
    println!(
        "{} calls and {} handshakes without a failure, over {} certificates of {} authorities",
        calls.load(Ordering::Relaxed),
        seen.handshakes,
        seen.leaves.len(),
        seen.authorities.len(),
    );
    ensure!(calls.load(Ordering::Relaxed) > 500, "hardly any call");
    ensure!(seen.leaves.len() >= 5, "{} leaves", seen.leaves.len());
    // The first authority has gone, from the Secret and from the registrations.
    let oldest = seen
        .authorities
        .first()
        .context("no authority")?
        .clone();
    until("the oldest authority to go", LIMIT, async || {
        let held = bundles(cluster).await?;
        let is_gone = held
            .iter()
            .all(|bundle| !bundle.contains(&oldest));
        Ok(is_gone.then_some(()))
    })
    .await
    .with_context(logs)?;
    for manager in [&mut first, &mut second] {
        manager.expect_running()?;
        let warnings: Vec<_> = manager
            .log()
            .lines()
            .filter(|line| line.contains("WARN") || line.contains("ERROR"))
            .map(str::to_owned)
            .collect();
        ensure!(warnings.is_empty(), "{}", warnings.join("\n"));
    }
    Ok(())
}

async fn a_replica_that_is_cut_off_is_trusted_until_its_certificate_ends(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    // The second certificate ends with the first authority, 13 s after the second authority signs.
    let lifetimes = ["--certificate-lifetime=30s", "--authority-lifetime=40s"];
    cluster.delete_secret().await?;
    let proxy = Proxy::start(&cluster.control_plane).await?;
    let options = |name: &str| ManagerOptions {
        name: name.to_owned(),
        webhook_port: None,
        args: lifetimes.map(str::to_owned).to_vec(),
        ..cluster.manager_options(&[])
    };
    let cut_off = ManagerOptions {
        env: vec![(
            "KUBECONFIG".to_owned(),
            proxy
                .kubeconfig(&cluster.control_plane, "proxied")
                .await?,
        )],
        ..options("agentkube-manager-2")
    };
    let (well, cut_off) = futures::try_join!(
        Manager::start(&cluster.control_plane, options("agentkube-manager-1")),
        Manager::start(&cluster.control_plane, cut_off)
    )?;
    until("a second authority", LIMIT, async || {
        let [mutating, _] = bundles(cluster).await?;
        Ok((mutating.len() == 2).then_some(()))
    })
    .await?;
    proxy.freeze_everything();
    let kept = served(cluster, cut_off.webhook_port()).await?;

    // The other replica goes on to the new authority ...
    let before = served(cluster, well.webhook_port()).await?;
    until("the new authority to sign", LIMIT, async || {
        let now = served(cluster, well.webhook_port()).await?;
        Ok((now != before).then_some(()))
    })
    .await
    .with_context(|| well.log())?;
    // ... and what this one serves is trusted, up to the moment at which it asks for no more calls.
    let mut handshakes = 0;
    until("readiness to turn off", LIMIT, async || {
        ensure!(
            served(cluster, cut_off.webhook_port()).await? == kept,
            "it serves another certificate"
        );
        handshakes += 1;
        let (code, body) = readyz(&cut_off).await?;
        ensure!(
            code == 200 || body.contains("[-]certificate: the serving certificate expires at"),
            "{body}"
        );
        Ok((code != 200).then_some(()))
    })
    .await
    .with_context(|| cut_off.log())?;
    ensure!(handshakes > 100, "only {handshakes} handshakes");

    // Back, it catches up.
    proxy.thaw();
    until("readiness to turn on", LIMIT, async || {
        let (code, _) = readyz(&cut_off).await?;
        Ok((code == 200).then_some(()))
    })
    .await
    .with_context(|| cut_off.log())?;
    served(cluster, cut_off.webhook_port()).await?;
    Ok(())
}

/// Opens new connections to a replica, trusting what the registrations said up to 200 ms ago, until
/// one is refused.
pub(crate) async fn handshakes(
    cluster: &Cluster,
    port: u16,
) -> anyhow::Result<std::convert::Infallible> {
    loop {
        let trusted = bundles(cluster).await?;
        let read = Instant::now();
        while read.elapsed() < Duration::from_millis(200) {
            for bundle in &trusted {
                handshake(port, bundle).await?;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// What a probe is told: the status, and a line for each check.
async fn readyz(manager: &Manager) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, manager.probe_port())).await?;
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await?;
    let code = answer
        .split(' ')
        .nth(1)
        .context("no status")?
        .parse()?;
    Ok((code, answer))
}

/// The certificate that a replica serves, which both registrations have to trust.
async fn served(cluster: &Cluster, port: u16) -> anyhow::Result<CertificateDer<'static>> {
    let [mutating, validating] = bundles(cluster).await?;
    handshake(port, &mutating).await?;
    handshake(port, &validating).await
}

async fn start(cluster: &Cluster, name: &str) -> anyhow::Result<Manager> {
    let options = ManagerOptions {
        name: name.to_owned(),
        webhook_port: None,
        args: LIFETIMES.map(str::to_owned).to_vec(),
        ..cluster.manager_options(&[])
    };
    Manager::start(&cluster.control_plane, options).await
}

/// Calls both webhooks through the API server, four at a time, until one fails.
async fn load(
    namespace: &Namespace,
    calls: &AtomicUsize,
) -> anyhow::Result<std::convert::Infallible> {
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let caller = async |number: usize| -> anyhow::Result<std::convert::Infallible> {
        let object = agent(&format!("agent-{number}"), &json!({"runtime": "Codex"}));
        let object = serde_json::from_value(object)?;
        let api = namespace.api("Agent");
        loop {
            api.create(&dry_run, &object)
                .await
                .with_context(|| format!("after {} calls", calls.load(Ordering::Relaxed)))?;
            calls.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        failed = caller(1) => failed,
        failed = caller(2) => failed,
        failed = caller(3) => failed,
        failed = caller(4) => failed,
    }
}

/// What was served.
#[derive(Default)]
struct Seen {
    handshakes: usize,
    leaves: BTreeSet<Vec<u8>>,
    /// In the order in which they signed.
    authorities: Vec<CertificateDer<'static>>,
}

/// Opens new connections to both replicas as an API server would that learns of a registration only
/// after a second, until three authorities have signed.
async fn watch_handshakes(cluster: &Cluster, replicas: [u16; 2]) -> anyhow::Result<Seen> {
    let mut seen = Seen::default();
    let mut trusted = bundles(cluster).await?;
    let mut read = Instant::now();
    let deadline = Instant::now() + LIMIT;
    let mut ticks = interval(Duration::from_millis(50));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while seen.authorities.len() < 3 {
        ensure!(
            Instant::now() < deadline,
            "only {} authorities have signed",
            seen.authorities.len()
        );
        ticks.tick().await;
        for port in replicas {
            for bundle in &trusted {
                let leaf = match handshake(port, bundle).await {
                    Ok(leaf) => leaf,
                    // On a busy machine: an API server that is so late is not what this is about.
                    Err(_) if read.elapsed() > LATEST => continue,
                    Err(error) => {
                        let what = format!("handshake {} with port {port}", seen.handshakes);
                        return Err(error.context(what));
                    }
                };
                seen.handshakes += 1;
                if seen.leaves.insert(leaf.to_vec()) {
                    for authority in bundle {
                        let alone = std::slice::from_ref(authority);
                        if !seen.authorities.contains(authority)
                            && handshake(port, alone).await.is_ok()
                        {
                            seen.authorities.push(authority.clone());
                        }
                    }
                }
            }
        }
        if read.elapsed() > Duration::from_secs(1) {
            trusted = bundles(cluster).await?;
            read = Instant::now();
        }
    }
    Ok(seen)
}

/// The certificate that is served, if a client that trusts these authorities accepts it.
async fn handshake(
    port: u16,
    trusted: &[CertificateDer<'static>],
) -> anyhow::Result<CertificateDer<'static>> {
    let mut roots = RootCertStore::empty();
    for authority in trusted {
        roots.add(authority.clone())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let name = ServerName::IpAddress(IpAddr::from(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let session = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    let (_, connection) = session.get_ref();
    let leaf = connection
        .peer_certificates()
        .and_then(<[_]>::first)
        .context("no certificate")?;
    Ok(leaf.clone().into_owned())
}

/// The authorities of each registration's first webhook.
async fn bundles(cluster: &Cluster) -> anyhow::Result<[Vec<CertificateDer<'static>>; 2]> {
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(cluster.client());
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(cluster.client());
    let mutating = mutating
        .get(REGISTRATION)
        .await?
        .webhooks
        .into_iter()
        .flatten()
        .next()
        .context("no webhook")?;
    let validating = validating
        .get(REGISTRATION)
        .await?
        .webhooks
        .into_iter()
        .flatten()
        .next()
        .context("no webhook")?;
    let read = |config: k8s_openapi::api::admissionregistration::v1::WebhookClientConfig| {
        let bundle = config
            .ca_bundle
            .context("no caBundle")?;
        Ok::<_, anyhow::Error>(
            CertificateDer::pem_slice_iter(&bundle.0).collect::<Result<Vec<_>, _>>()?,
        )
    };
    Ok([
        read(mutating.client_config)?,
        read(validating.client_config)?,
    ])
}

/// A Service before two replicas: each connection goes to the next.
struct Balancer {
    port: u16,
    task: JoinHandle<()>,
}

impl Balancer {
    async fn start(replicas: [u16; 2]) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            for replica in replicas.iter().cycle().copied() {
                let Ok((mut client, _)) = listener.accept().await else {
                    return;
                };
                connections.spawn(async move {
                    if let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, replica)).await
                    {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Ok(Self { port, task })
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
