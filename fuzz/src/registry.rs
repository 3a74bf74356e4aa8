//! What registries answer to `agentkube images check`, through the client's own HTTP.
//!
//! The data are whole answers, as they come over the wire, with a line `===` between them. The n-th
//! request gets the n-th answer, and what comes behind the last one gets the last one again. In a
//! body `@@2` stands for the digest of the body of the answer with index 2, or nothing behind it
//! could ever be reached.
//!
//! - The client comes to an end, with an image or with words for a terminal, and waits for nothing.
//! - What it says of a tag, it says of the digest that the tag stands for.
//! - No plain HTTP unless it is allowed, no password and no token for anybody but the registry and
//!   the token service that it names, and no header but our own.

use std::{
    fmt::Write as _,
    pin::Pin,
    sync::{Arc, LazyLock, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use agentkube::registry::{AskError, Client, ClientOptions, Credentials, Image, Proxies};
use aws_lc_rs::digest::{SHA256, digest};
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};

const HOST: &str = "registry.example.com";

/// Two for the scheme, and for an index with each of its platforms: five redirects, a token, and
/// the answer.
const MOST_REQUESTS: usize = 2 + (1 + 64) * (5 + 1 + 1);

/// Nothing ever waits here, so that it is over only where something hangs. libFuzzer gives up
/// earlier.
const DEADLINE: Duration = Duration::from_secs(20);

/// What must not be repeated: a password, the same as it is sent, an identity token.
const SECRETS: [&str; 3] = ["planted-password", "YWRhOnBsYW50", "planted-identity"];

static PASSWORD: LazyLock<Credentials> =
    LazyLock::new(|| credentials(r#""username": "ada", "password": "planted-password""#));

static IDENTITY: LazyLock<Credentials> =
    LazyLock::new(|| credentials(r#""identitytoken": "planted-identity""#));

fn credentials(entry: &str) -> Credentials {
    let config = format!(r#"{{"auths": {{"{HOST}": {{{entry}}}}}}}"#);
    Credentials::parse(&config).expect("a configuration")
}

/// Asks about one image: with a password and TLS only, and with an identity token and plain HTTP
/// allowed.
pub fn check(data: &[u8]) {
    let answers: Arc<[Vec<u8>]> = answers(data).into();
    for plain_http in [false, true] {
        match ask("v1", &answers, plain_http) {
            Ok(image) => {
                is_sound(&image);
                let again = ask(&image.digest, &answers, plain_http);
                assert_eq!(again.as_ref(), Ok(&image));
            }
            Err(error) => is_told(&error),
        }
    }
}

fn ask(version: &str, answers: &Arc<[Vec<u8>]>, plain_http: bool) -> Result<Image, AskError> {
    let server = Arc::new(Server {
        answers: answers.clone(),
        requests: Mutex::default(),
    });
    let credentials = if plain_http { &IDENTITY } else { &PASSWORD };
    let options = ClientOptions {
        credentials: (*credentials).clone(),
        authorities: None,
        plain_http,
        proxies: Proxies::default(),
        deadline: DEADLINE,
    };
    let connector = {
        let server = server.clone();
        tower::service_fn(move |uri: Uri| {
            let wire = server.connect(&uri);
            Box::pin(async { Ok::<_, std::io::Error>(wire) })
        })
    };
    let separator = if version.contains(':') { '@' } else { ':' };
    let reference = format!("{HOST}/org/app{separator}{version}")
        .parse()
        .expect("a reference");
    let told = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
        .block_on(Client::over(connector, options).image(&reference));
    // Where a request is written, a panic would end a task of the runtime and nothing else.
    let requests = server
        .requests
        .lock()
        .expect("no panic before");
    assert!(requests.len() <= MOST_REQUESTS, "it goes on and on");
    for request in requests.iter() {
        is_ours(request, plain_http);
    }
    told
}

fn is_sound(image: &Image) {
    let Image {
        digest,
        platforms,
        hollow,
    } = image;
    assert!(digest.starts_with("sha256:"), "{image:?}");
    assert!(platforms.len() + hollow.len() <= 64, "{image:?}");
    for platform in platforms {
        let blobs = &platform.blobs;
        assert!(blobs.len() <= 1_000, "{platform:?}");
        let sum = blobs
            .iter()
            .map(|blob| blob.size)
            .fold(0, u64::saturating_add);
        assert!(platform.bytes() <= sum, "{platform:?}");
    }
    let mut names = platforms
        .iter()
        .map(|platform| &platform.platform)
        .chain(hollow);
    assert!(
        names.all(|name| !name.is_empty() && is_printable(name)),
        "{image:?}"
    );
}

fn is_told(error: &AskError) {
    let text = error.to_string();
    assert!(!text.is_empty() && is_printable(&text), "{text:?}");
    assert!(!text.contains(" within "), "something hangs: {text}");
    assert!(
        !SECRETS
            .iter()
            .any(|secret| text.contains(secret)),
        "{text}"
    );
}

/// Whether a terminal shows the text and does nothing else.
fn is_printable(text: &str) -> bool {
    !text.contains(char::is_control)
}

/// The answers of the data, with the digests that they ask for.
fn answers(data: &[u8]) -> Vec<Vec<u8>> {
    let mut answers: Vec<Vec<u8>> = Vec::new();
    let mut rest = data;
    while let Some(end) = find(rest, b"\n===\n") {
        let (answer, behind) = rest.split_at(end);
        answers.push(answer.to_vec());
        rest = behind.get(5..).unwrap_or_default();
    }
    answers.push(rest.to_vec());
    // From the end, so that what an answer refers to has its own digests already.
    for index in (0..answers.len()).rev() {
        for later in index + 1..answers.len().min(10) {
            let digest = body_digest(&answers[later]);
            let name = format!("@@{later}");
            while let Some(at) = find(&answers[index], name.as_bytes()) {
                answers[index].splice(at..at + name.len(), digest.bytes());
            }
        }
    }
    answers
}

fn body_digest(answer: &[u8]) -> String {
    let body = find(answer, b"\r\n\r\n").and_then(|end| answer.get(end + 4..));
    let digest = digest(&SHA256, body.unwrap_or_default());
    let mut text = "sha256:".to_owned();
    for byte in digest.as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len())
        .position(|window| window == part)
}

/// Every host there is.
struct Server {
    answers: Arc<[Vec<u8>]>,
    requests: Mutex<Vec<Request>>,
}

/// What was written to a connection.
struct Request {
    text: String,
    is_tls: bool,
    /// Whether it went to the registry.
    is_home: bool,
}

impl Server {
    fn connect(self: &Arc<Self>, uri: &Uri) -> Wire {
        Wire {
            server: self.clone(),
            is_tls: uri.scheme_str() == Some("https"),
            is_home: uri
                .authority()
                .is_some_and(|host| host.as_str() == HOST),
            request: Vec::new(),
            answer: None,
            reader: None,
        }
    }

    fn answer(&self, request: Request) -> Vec<u8> {
        let mut requests = self
            .requests
            .lock()
            .expect("no panic before");
        let answer = self
            .answers
            .get(requests.len())
            .or(self.answers.last());
        requests.push(request);
        answer.cloned().unwrap_or_default()
    }
}

/// A request as we write it, whatever an answer said before.
fn is_ours(request: &Request, plain_http: bool) {
    let Request {
        text,
        is_tls,
        is_home,
    } = request;
    assert!(*is_tls || plain_http, "without TLS: {text}");
    let (head, body) = text
        .split_once("\r\n\r\n")
        .expect("a whole head");
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let is_post = first.starts_with("POST ");
    assert!(is_post || first.starts_with("GET "), "{text}");
    assert!(is_post || body.is_empty(), "{text}");
    let mut is_for_token = false;
    let mut authorization = None;
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a header");
        match name {
            "accept" => is_for_token = value == "application/json",
            "authorization" => authorization = Some(value),
            "content-length" | "content-type" => assert!(is_post, "{text}"),
            "host" | "user-agent" => {}
            _ => panic!("somebody else's header: {text}"),
        }
    }
    assert!(is_for_token || !is_post, "{text}");
    assert!(
        *is_home || authorization.is_none_or(|value| is_for_token && value.starts_with("Basic ")),
        "{text}"
    );
}

/// A connection: once a whole head was written, its answer can be read, and nothing after it.
struct Wire {
    server: Arc<Server>,
    is_tls: bool,
    is_home: bool,
    request: Vec<u8>,
    answer: Option<(Vec<u8>, usize)>,
    reader: Option<Waker>,
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let Some((answer, at)) = &mut self.answer else {
            self.reader = Some(context.waker().clone());
            return Poll::Pending;
        };
        let rest = answer.get(*at..).unwrap_or_default();
        let length = rest.len().min(buffer.remaining());
        buffer.put_slice(rest.get(..length).unwrap_or_default());
        *at += length;
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.request.extend_from_slice(bytes);
        if self.answer.is_none() && find(&self.request, b"\r\n\r\n").is_some() {
            let request = Request {
                text: String::from_utf8_lossy(&self.request).into_owned(),
                is_tls: self.is_tls,
                is_home: self.is_home,
            };
            self.answer = Some((self.server.answer(request), 0));
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
