//! A server before real TLS clients, and what a test asks it.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use agentkube::{
    server::{
        Deadline, Limits, ServingCertificate, Shutdown, bind,
        body::{self, BodyBudget},
        callers::client_auth::ClientAuthorities,
        certificates::{
            issue::{CertificateAuthority, Leaf},
            pair::Pair,
        },
        serve,
        tls::server_config,
    },
    telemetry::Metrics,
};
use axum::{
    Router,
    body::Body,
    http::Request,
    routing::{get, post},
};
use jiff::Timestamp;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A certificate with its key
pub(crate) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// A running server, with what a test needs to speak to it
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) authority: CertificateAuthority,
    pub(crate) metrics: Metrics,
    /// How many requests for `/held` were begun
    pub(crate) held: Arc<AtomicUsize>,
    /// Lets one of them end
    pub(crate) release: Arc<Notify>,
    pub(crate) serving: Arc<ServingCertificate>,
    pub(crate) shutdown: Shutdown,
    pub(crate) task: JoinHandle<()>,
}

impl Server {
    pub(crate) fn start(limits: Limits) -> Self {
        Self::start_for(limits, None)
    }

    /// One that may turn clients away for their certificates
    pub(crate) fn start_for(limits: Limits, clients: Option<Arc<ClientAuthorities>>) -> Self {
        let authority = CertificateAuthority::new(HOUR, Timestamp::now()).unwrap();
        let metrics = Metrics::new("test");
        let serving = Arc::new(ServingCertificate::new(metrics.certificate_expiry()));
        serving.replace(Arc::new(pair(&issue(&authority))));

        let release = Arc::new(Notify::new());
        let held = Arc::new(AtomicUsize::new(0));
        let (counter, ends) = (held.clone(), release.clone());
        let router = Router::new()
            .route("/", get(async || "hello"))
            .route(
                "/panic",
                get(async || -> &'static str { panic!("on purpose") }),
            )
            .route(
                "/held",
                get(async move || {
                    counter.fetch_add(1, Ordering::Relaxed);
                    ends.notified().await;
                }),
            )
            .route("/review", post(review));

        let listener = bind(([127, 0, 0, 1], 0).into(), "--webhook-port").unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let task = tokio::spawn(serve(
            listener,
            Some(server_config(serving.clone(), clients).unwrap()),
            router,
            limits,
            metrics.connections(),
            shutdown.clone(),
        ));
        Self {
            address,
            authority,
            metrics,
            held,
            release,
            serving,
            shutdown,
            task,
        }
    }

    pub(crate) async fn connect(&self) -> Client {
        self.try_connect(&self.authority)
            .await
            .unwrap()
    }

    /// The status that a new client gets.
    pub(crate) async fn status(&self) -> u16 {
        self.connect()
            .await
            .get("/")
            .await
            .status
    }

    pub(crate) async fn try_connect(
        &self,
        trusted: &CertificateAuthority,
    ) -> std::io::Result<Client> {
        self.try_connect_as(trusted, None).await
    }

    /// Trusts an authority in PEM
    pub(crate) async fn connect_trusting(&self, pem: &str) -> std::io::Result<Client> {
        self.open(pem, None).await
    }

    /// Shows a certificate
    pub(crate) async fn try_connect_as(
        &self,
        trusted: &CertificateAuthority,
        identity: Option<Identity>,
    ) -> std::io::Result<Client> {
        self.open(trusted.certificate_pem(), identity)
            .await
    }

    async fn open(&self, trusted: &str, identity: Option<Identity>) -> std::io::Result<Client> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap();
        roots.add(certificate).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            Some((chain, key)) => config
                .with_client_auth_cert(chain, key)
                .unwrap(),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::from(self.address.ip());
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let stream = timeout(PATIENCE, connecting).await??;
        Ok(Client {
            stream,
            buffer: Vec::new(),
        })
    }

    pub(crate) async fn scrape(&self, series: &str) -> String {
        use http_body_util::BodyExt;
        use tower::ServiceExt;

        let request = Request::get("/metrics")
            .body(Body::empty())
            .unwrap();
        let response = self
            .metrics
            .router()
            .oneshot(request)
            .await
            .unwrap();
        let bytes = response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with(series))
            .unwrap();
        line.rsplit_once(' ')
            .unwrap()
            .1
            .to_owned()
    }
}

static BODIES: LazyLock<BodyBudget> = LazyLock::new(|| BodyBudget::new(body::SHARED_BYTES));

async fn review(request: Request<Body>) -> Result<String, body::BodyError> {
    let deadline = Deadline::from_query(tokio::time::Instant::now(), request.uri().query());
    let whole = body::read(request, deadline, &BODIES).await?;
    Ok(whole.len().to_string())
}

/// One TLS connection, speaking HTTP by hand so that a test sees every byte
pub(crate) struct Client {
    pub(crate) stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: webhook\r\n\r\n").as_bytes())
            .await;
        self.answer().await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .await
            .unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Reads one answer with a `Content-Length`
    pub(crate) async fn answer(&mut self) -> Answer {
        timeout(PATIENCE, async {
            loop {
                if let Some(answer) = self.parse() {
                    return answer;
                }
                let read = self
                    .stream
                    .read_buf(&mut self.buffer)
                    .await
                    .unwrap();
                assert_ne!(
                    read,
                    0,
                    "the connection ended: {:?}",
                    String::from_utf8_lossy(&self.buffer)
                );
            }
        })
        .await
        .unwrap()
    }

    /// Whether the server ends the connection in time
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        matches!(
            timeout(PATIENCE, self.stream.read(&mut byte)).await,
            Ok(Ok(0) | Err(_))
        )
    }

    fn parse(&mut self) -> Option<Answer> {
        let text = String::from_utf8(self.buffer.clone()).unwrap();
        let (head, rest) = text.split_once("\r\n\r\n")?;
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1)?;
        let length: usize = length.lines().next()?.parse().unwrap();
        let body = rest.get(..length)?.to_owned();
        self.buffer
            .drain(..head.len() + 4 + length);
        let status = head
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        Some(Answer {
            status,
            closes: head.contains("connection: close"),
            body,
        })
    }

    pub(crate) fn served(&self) -> Vec<u8> {
        let (_, connection) = self.stream.get_ref();
        connection.peer_certificates().unwrap()[0].to_vec()
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) closes: bool,
    pub(crate) body: String,
}

pub(crate) fn limits() -> Limits {
    Limits::webhook(Duration::from_millis(400))
}

pub(crate) fn issue(authority: &CertificateAuthority) -> Leaf {
    let names = ["webhook.test", "127.0.0.1"].map(str::to_owned);
    authority
        .issue(&names, HOUR, Timestamp::now())
        .unwrap()
}

pub(crate) fn pair(leaf: &Leaf) -> Pair {
    Pair::load(leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes()).unwrap()
}

pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
