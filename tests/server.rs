//! The webhook's listener before real TLS clients: handshakes, swapped certificates, limits, drain.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets the unexpected has failed"
)]

use std::{
    fs,
    future::Future,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use agentkube::server::{
    Deadline, Limits, Metrics, ServingCertificate, Shutdown, bind, body,
    certificates::{
        directory,
        issue::{Authority, Leaf},
    },
    serve,
    tls::{Pair, server_config},
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
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const HOUR: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(10);

/// A running server, with what a test needs to speak to it
struct Server {
    address: SocketAddr,
    authority: Authority,
    metrics: Metrics,
    release: Arc<Notify>,
    serving: Arc<ServingCertificate>,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let authority = Authority::new(HOUR, Timestamp::now()).unwrap();
        let metrics = Metrics::new("test");
        let serving = Arc::new(ServingCertificate::new(metrics.certificate_expiry()));
        serving.replace(Arc::new(pair(&issue(&authority))));

        let release = Arc::new(Notify::new());
        let held = release.clone();
        let router = Router::new()
            .route("/", get(async || "hello"))
            .route(
                "/panic",
                get(async || -> &'static str { panic!("on purpose") }),
            )
            .route("/held", get(async move || held.notified().await))
            .route("/review", post(review));

        let listener = bind(([127, 0, 0, 1], 0).into(), "--webhook-port")
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let task = tokio::spawn(serve(
            listener,
            Some(server_config(serving.clone()).unwrap()),
            router,
            limits,
            metrics.connections(),
            shutdown.clone(),
        ));
        Self {
            address,
            authority,
            metrics,
            release,
            serving,
            shutdown,
            task,
        }
    }

    async fn connect(&self) -> Client {
        self.try_connect(&self.authority)
            .await
            .unwrap()
    }

    async fn try_connect(&self, trusted: &Authority) -> std::io::Result<Client> {
        let mut roots = RootCertStore::empty();
        let certificate =
            CertificateDer::from_pem_slice(trusted.certificate_pem().as_bytes()).unwrap();
        roots.add(certificate).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
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

    async fn scrape(&self, series: &str) -> String {
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

async fn review(request: Request<Body>) -> Result<String, body::BodyError> {
    let deadline = Deadline::from_query(tokio::time::Instant::now(), request.uri().query());
    let bytes = body::read(request, deadline).await?;
    Ok(bytes.len().to_string())
}

/// One TLS connection, speaking HTTP by hand so that a test sees every byte
struct Client {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Client {
    async fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: webhook\r\n\r\n").as_bytes())
            .await;
        self.answer().await
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .await
            .unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Reads one answer with a `Content-Length`
    async fn answer(&mut self) -> Answer {
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
    async fn is_closed(&mut self) -> bool {
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

    fn served(&self) -> Vec<u8> {
        let (_, connection) = self.stream.get_ref();
        connection.peer_certificates().unwrap()[0].to_vec()
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    closes: bool,
    body: String,
}

fn limits() -> Limits {
    Limits::webhook(Duration::from_millis(400))
}

fn issue(authority: &Authority) -> Leaf {
    let names = ["webhook.test", "127.0.0.1"].map(str::to_owned);
    authority
        .issue(&names, HOUR, Timestamp::now())
        .unwrap()
}

fn pair(leaf: &Leaf) -> Pair {
    Pair::load(leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes()).unwrap()
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn speaks_http_1_over_tls_and_keeps_the_connection() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    assert_eq!(
        client
            .stream
            .get_ref()
            .1
            .alpn_protocol(),
        Some(b"http/1.1".as_slice())
    );
    for _ in 0..3 {
        let answer = client.get("/").await;
        assert_eq!(
            (answer.status, answer.body.as_str(), answer.closes),
            (200, "hello", false)
        );
    }
}

#[tokio::test]
async fn a_client_with_another_authority_is_counted() {
    let server = Server::start(limits()).await;
    let stranger = Authority::new(HOUR, Timestamp::now()).unwrap();
    assert!(
        server
            .try_connect(&stranger)
            .await
            .is_err()
    );
    eventually("the count", async || {
        server
            .scrape("agentkube_tls_handshake_errors_total")
            .await
            == "1"
    })
    .await;
}

#[tokio::test]
async fn a_slow_handshake_holds_nobody_up_and_is_ended() {
    let limits = Limits {
        handshake: Duration::from_secs(2),
        ..limits()
    };
    let server = Server::start(limits).await;
    let mut silent = TcpStream::connect(server.address)
        .await
        .unwrap();

    assert_eq!(
        server
            .connect()
            .await
            .get("/")
            .await
            .status,
        200
    );

    let mut byte = [0];
    let ended = timeout(PATIENCE, silent.read(&mut byte))
        .await
        .unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    eventually("the count", async || {
        server
            .scrape("agentkube_tls_handshake_errors_total")
            .await
            == "1"
    })
    .await;
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_for_a_slot() {
    let server = Server::start(Limits {
        connections: 1,
        ..limits()
    })
    .await;
    let mut first = server.connect().await;
    assert_eq!(first.get("/").await.status, 200);

    let second = server.connect();
    tokio::pin!(second);
    assert!(
        timeout(Duration::from_millis(300), &mut second)
            .await
            .is_err(),
        "a second connection was taken"
    );
    assert_eq!(
        server
            .scrape("agentkube_connections ")
            .await,
        "1"
    );

    drop(first);
    assert_eq!(second.await.get("/").await.status, 200);
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_only() {
    let server = Server::start(limits()).await;
    let mut calm = server.connect().await;
    let mut unlucky = server.connect().await;
    unlucky
        .send(b"GET /panic HTTP/1.1\r\nHost: webhook\r\n\r\n")
        .await;
    assert!(unlucky.is_closed().await);
    assert_eq!(calm.get("/").await.status, 200);
    assert_eq!(
        server
            .connect()
            .await
            .get("/")
            .await
            .status,
        200
    );
    eventually("the slot's return", async || {
        server
            .scrape("agentkube_connections ")
            .await
            == "1"
    })
    .await;
}

#[tokio::test]
async fn a_swapped_certificate_is_seen_by_the_next_handshake() {
    let server = Server::start(limits()).await;
    let mut before = server.connect().await;
    assert_eq!(before.get("/").await.status, 200);

    let next = Arc::new(pair(&issue(&server.authority)));
    server.serving.replace(next.clone());

    let after = server.connect().await;
    assert_ne!(before.served(), after.served());
    assert_eq!(after.served(), next.chain()[0].to_vec());
    assert_eq!(before.get("/").await.status, 200, "open connections go on");
    let expiry = server
        .scrape("agentkube_certificate_expiry_timestamp_seconds")
        .await;
    assert_eq!(expiry, next.not_after().as_second().to_string());
}

/// What the kubelet does when a mounted Secret changes: a new directory, and the link `..data`
/// swapped onto it
fn mount(directory: &Path, generation: &str, chain: &str, key: &str) {
    let data = directory.join(generation);
    fs::create_dir(&data).unwrap();
    fs::write(data.join("tls.crt"), chain).unwrap();
    fs::write(data.join("tls.key"), key).unwrap();
    let link = directory.join("..data_tmp");
    std::os::unix::fs::symlink(generation, &link).unwrap();
    fs::rename(&link, directory.join("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        let file = directory.join(name);
        if !file.is_symlink() {
            std::os::unix::fs::symlink(Path::new("..data").join(name), file).unwrap();
        }
    }
}

#[tokio::test]
async fn a_directory_is_followed_through_link_swaps_and_bad_pairs() {
    let server = Server::start(limits()).await;
    let directory = tempfile::tempdir().unwrap();
    let [first, second, third] = [0; 3].map(|_| issue(&server.authority));
    mount(directory.path(), "..1", &first.chain_pem, &first.key_pem);
    let interval = Duration::from_millis(20);
    tokio::spawn(directory::follow(
        directory.path().to_owned(),
        interval,
        server.serving.clone(),
        server.shutdown.clone(),
    ));
    let becomes = async |leaf: &Leaf| {
        let expected = pair(leaf).chain()[0].to_vec();
        eventually("the certificate", async || {
            server.connect().await.served() == expected
        })
        .await;
    };

    becomes(&first).await;
    mount(directory.path(), "..2", &second.chain_pem, &second.key_pem);
    becomes(&second).await;

    for (generation, chain, key) in [
        ("..3", "nonsense", third.key_pem.as_str()),
        ("..4", &third.chain_pem, &first.key_pem),
        ("..5", &third.chain_pem, ""),
    ] {
        mount(directory.path(), generation, chain, key);
        // Several polls happen in this time, and none of them may change what is served.
        tokio::time::sleep(interval * 5).await;
        assert_eq!(
            server.connect().await.served(),
            pair(&second).chain()[0].to_vec(),
            "{generation}"
        );
    }

    mount(directory.path(), "..6", &third.chain_pem, &third.key_pem);
    becomes(&third).await;
}

#[tokio::test]
async fn a_drain_answers_with_connection_close_and_finishes_what_is_in_flight() {
    let drain = Duration::from_millis(1500);
    let server = Server::start(Limits::webhook(drain)).await;
    let mut kept = server.connect().await;
    let mut idle = server.connect().await;
    assert!(!kept.get("/").await.closes);
    assert_eq!(idle.get("/").await.status, 200);
    let mut busy = server.connect().await;
    busy.send(b"GET /held HTTP/1.1\r\nHost: webhook\r\n\r\n")
        .await;

    let start = Instant::now();
    server.shutdown.drain();

    let answer = kept.get("/").await;
    assert_eq!((answer.status, answer.closes), (200, true));
    assert!(kept.is_closed().await);
    let answer = server.connect().await.get("/").await;
    assert_eq!(
        (answer.status, answer.closes),
        (200, true),
        "new connections are served during the drain"
    );

    assert!(idle.is_closed().await);
    assert!(
        start.elapsed() >= drain,
        "an idle connection stays until the drain is over"
    );
    assert!(!server.task.is_finished(), "a request is still in flight");
    assert!(
        TcpStream::connect(server.address)
            .await
            .is_err(),
        "no more connections are taken"
    );

    server.release.notify_one();
    let answer = busy.answer().await;
    assert_eq!((answer.status, answer.closes), (200, true));
    timeout(PATIENCE, server.task)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn the_grace_period_ends_requests_that_do_not() {
    let server = Server::start(Limits {
        grace: Duration::from_millis(200),
        ..limits()
    })
    .await;
    let mut stuck = server.connect().await;
    stuck
        .send(b"GET /held HTTP/1.1\r\nHost: webhook\r\n\r\n")
        .await;
    // One answer on another connection: the held request has had its turn.
    assert_eq!(
        server
            .connect()
            .await
            .get("/")
            .await
            .status,
        200
    );

    server.shutdown.drain();

    timeout(PATIENCE, server.task)
        .await
        .unwrap()
        .unwrap();
    assert!(stuck.is_closed().await);
}

#[tokio::test]
async fn a_plain_listener_serves_until_the_shutdown_has_finished() {
    let listener = bind(([127, 0, 0, 1], 0).into(), "--probes-port")
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let router = Router::new().route("/healthz", get(async || "ok"));
    let metrics = Metrics::new("test").connections();
    let task = tokio::spawn(serve(
        listener,
        None,
        router,
        Limits::auxiliary(),
        metrics,
        shutdown.clone(),
    ));
    let probe = async || {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        std::io::Result::Ok(text)
    };

    shutdown.drain();
    assert!(
        probe()
            .await
            .unwrap()
            .ends_with("\r\n\r\nok")
    );

    shutdown.finish();
    timeout(PATIENCE, task)
        .await
        .unwrap()
        .unwrap();
    assert!(probe().await.is_err());
}

fn head(content_type: &str, length: usize, query: &str) -> Vec<u8> {
    format!("POST /review{query} HTTP/1.1\r\nHost: webhook\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n")
        .into_bytes()
}

#[tokio::test]
async fn a_body_of_the_limit_is_read_and_one_byte_more_is_answered() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    client
        .send(&head("application/json", body::LIMIT_BYTES, ""))
        .await;
    client
        .send(&vec![b' '; body::LIMIT_BYTES])
        .await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.status, answer.body),
        (200, body::LIMIT_BYTES.to_string())
    );

    client
        .send(&head("application/json", body::LIMIT_BYTES + 1, ""))
        .await;
    client
        .send(&vec![b' '; body::LIMIT_BYTES + 1])
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 413);
    assert!(
        answer
            .body
            .starts_with("body is larger than 7340032 bytes (hint: "),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_client_that_asks_first_is_refused_before_it_sends() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    let head = String::from_utf8(head("application/json", body::LIMIT_BYTES * 100, "")).unwrap();
    let head = head.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    client.send(head.as_bytes()).await;
    assert_eq!(client.answer().await.status, 413);
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_is_answered() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    client
        .send(b"POST /review HTTP/1.1\r\nHost: webhook\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let chunk = vec![b' '; 1024 * 1024];
    for _ in 0..8 {
        client
            .send(format!("{:x}\r\n", chunk.len()).as_bytes())
            .await;
        client.send(&chunk).await;
        client.send(b"\r\n").await;
    }
    client.send(b"0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 413);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up_at_the_requests_timeout() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    let start = Instant::now();
    client
        .send(&head("application/json", 100, "?timeout=300ms"))
        .await;
    client.send(b"{").await;
    assert_eq!(client.answer().await.status, 408);
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn another_content_type_is_refused_with_a_sentence() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    client
        .send(&head("text/yaml", 2, ""))
        .await;
    client.send(b"{}").await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 415);
    assert!(
        answer
            .body
            .starts_with("`Content-Type` must be `application/json`"),
        "{}",
        answer.body
    );
    assert_eq!(
        server
            .connect()
            .await
            .get("/")
            .await
            .status,
        200
    );
}
