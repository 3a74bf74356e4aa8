//! Load over TLS: HTTP/1.1 on connections that are kept, each with one request at a time.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use agentkube_playground::ControlPlane;
use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde::Deserialize;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::statistics::{Latencies, float};

/// How long one answer may take. Nobody who is measured takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server on this machine, and how it is spoken to.
#[derive(Clone)]
pub(super) struct Target {
    address: SocketAddr,
    tls: TlsConnector,
    authorization: Option<HeaderValue>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    /// With its query.
    pub(super) path: String,
    /// In JSON.
    pub(super) body: Bytes,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) latencies: Latencies,
    pub(super) elapsed: Duration,
}

/// Connections that wait for work.
pub(super) struct Clients(Vec<Client>);

impl Ask {
    pub(super) fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self {
            method: Method::POST,
            path: path.into(),
            body: body.into(),
        }
    }
}

impl Load {
    pub(super) fn per_second(&self) -> f64 {
        float(self.latencies.count()) / self.elapsed.as_secs_f64()
    }
}

impl Target {
    /// A server on 127.0.0.1 whose certificate an authority, in PEM, has signed.
    pub(super) fn new(port: u16, authority_pem: &[u8]) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority_pem) {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            address: ([127, 0, 0, 1], port).into(),
            tls: TlsConnector::from(Arc::new(config)),
            authorization: None,
        })
    }

    /// The API server, as its admin.
    pub(super) fn api_server(control_plane: &ControlPlane) -> anyhow::Result<Self> {
        let server = control_plane.server();
        let port = server
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok())
            .with_context(|| format!("`{server}` has no port"))?;
        let text = std::fs::read_to_string(control_plane.admin_kubeconfig())?;
        let kubeconfig: Kubeconfig = serde_saphyr::from_str(&text)?;
        let admin = kubeconfig
            .users
            .first()
            .context("the kubeconfig has no user")?;
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", admin.user.token))?;
        authorization.set_sensitive(true);
        Ok(Self {
            authorization: Some(authorization),
            ..Self::new(port, control_plane.ca_pem().as_bytes())?
        })
    }

    /// Opens connections, all handshakes done.
    pub(super) async fn connect(&self, connections: usize) -> anyhow::Result<Clients> {
        let mut clients = Vec::with_capacity(connections);
        for _ in 0..connections {
            clients.push(self.client().await?);
        }
        Ok(Clients(clients))
    }

    /// Asks once, on a connection of its own, and returns the answer's body.
    pub(super) async fn ask(&self, ask: &Ask) -> anyhow::Result<Bytes> {
        self.client().await?.ask(ask).await
    }

    async fn client(&self) -> anyhow::Result<Client> {
        timeout(PATIENCE, Client::connect(self))
            .await
            .context("no connection in time")?
    }
}

impl Clients {
    /// Asks this on every connection again and again, for this long.
    pub(super) async fn repeat(&mut self, ask: &Ask, window: Duration) -> anyhow::Result<Load> {
        let end = Instant::now() + window;
        self.all(|_| (Instant::now() < end).then(|| Ok(ask.clone())))
            .await
    }

    /// Asks each of so many things once, as fast as the connections take them.
    pub(super) async fn each(
        &mut self,
        count: usize,
        ask: impl Fn(usize) -> anyhow::Result<Ask>,
    ) -> anyhow::Result<Load> {
        self.all(|number| (number < count).then(|| ask(number)))
            .await
    }

    /// Every connection takes the next thing to ask, until there is none. All run inside this future and on as many
    /// threads as it: a few microseconds a request, so that one thread outruns what is measured here.
    async fn all(
        &mut self,
        next: impl Fn(usize) -> Option<anyhow::Result<Ask>>,
    ) -> anyhow::Result<Load> {
        let (count, next) = (&AtomicUsize::new(0), &next);
        let start = Instant::now();
        let work = self.0.iter_mut().map(async |client| {
            let mut latencies = Vec::new();
            while let Some(ask) = next(count.fetch_add(1, Ordering::Relaxed)) {
                let ask = ask?;
                let start = Instant::now();
                client.ask(&ask).await?;
                latencies.push(start.elapsed());
            }
            anyhow::Ok(latencies)
        });
        let latencies = futures::future::try_join_all(work)
            .await?
            .concat();
        Ok(Load {
            elapsed: start.elapsed(),
            latencies: Latencies::new(latencies),
        })
    }
}

struct Client {
    sender: SendRequest<Full<Bytes>>,
    connection: Connection<TokioIo<TlsStream<TcpStream>>, Full<Bytes>>,
    authorization: Option<HeaderValue>,
}

impl Client {
    async fn connect(target: &Target) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(target.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::from(target.address.ip());
        let stream = target.tls.connect(name, stream).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self {
            sender,
            connection,
            authorization: target.authorization.clone(),
        })
    }

    async fn ask(&mut self, ask: &Ask) -> anyhow::Result<Bytes> {
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(&ask.path)
            .header(header::HOST, "127.0.0.1")
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(ask.body.clone()))?;
        let Self {
            sender, connection, ..
        } = self;
        let exchange = async {
            sender.ready().await?;
            let (head, body) = sender
                .send_request(request)
                .await?
                .into_parts();
            Ok((head, body.collect().await?.to_bytes()))
        };
        // Driven from here and by no task of its own: that spares a switch per message.
        let closed = poll_fn(|context| connection.poll_without_shutdown(context));
        let (head, body) = tokio::select! {
            biased;
            answer = timeout(PATIENCE, exchange) => {
                let answer: hyper::Result<_> = answer.context("no answer in time")?;
                answer?
            }
            closed = closed => {
                closed?;
                bail!("the connection was closed");
            }
        };
        if !head.status.is_success() {
            let body = String::from_utf8_lossy(&body);
            bail!(
                "{} {} was answered with {}: {body}",
                ask.method,
                ask.path,
                head.status
            );
        }
        Ok(body)
    }
}

#[derive(Deserialize)]
struct Kubeconfig {
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedUser {
    user: User,
}

#[derive(Deserialize)]
struct User {
    token: String,
}
