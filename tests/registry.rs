//! Registries as they are on bad days: what `agentkube images check` makes of them, within its
//! limits.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use std::{sync::Arc, time::Duration};

use agentkube::{
    images::ImageReference,
    registry::{AskError, Client, ClientOptions, Credentials},
};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// A manifest of an image without layers, and its configuration.
const CONFIG: &str = r#"{"os":"linux","architecture":"amd64"}"#;
const MANIFEST: &str = r#"{"config":{"digest":"sha256:9cd31762e7050165195c9469ccea41a23c079f2d0f51b5e9bf0c9d7842618b72","size":37},"layers":[]}"#;

/// How a fake registry answers a request, of which it is told the head.
type Answers = dyn Fn(&str) -> String + Send + Sync;

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n{body}")
}

/// Serves on the loopback interface; host and port.
async fn serve(
    tls: Option<TlsAcceptor>,
    answers: impl Fn(&str) -> String + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap();
    let address = listener
        .local_addr()
        .unwrap()
        .to_string();
    let answers: Arc<Answers> = Arc::new(answers);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, answers) = (tls.clone(), answers.clone());
            tokio::spawn(async move {
                match tls {
                    None => exchange(stream, &*answers).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            exchange(stream, &*answers).await;
                        }
                    }
                }
            });
        }
    });
    address
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, answers: &Answers) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        // What is no HTTP, such as a handshake of TLS, is answered as servers do.
        match stream.read_u8().await {
            Ok(byte) if !head.is_empty() || byte.is_ascii_uppercase() => head.push(byte),
            _ => {
                let _ = stream
                    .write_all(answer("400 Bad Request", "", "").as_bytes())
                    .await;
                return;
            }
        }
    }
    let text = answers(&String::from_utf8_lossy(&head));
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn ask(address: &str, options: ClientOptions) -> Result<(), AskError> {
    let reference: ImageReference = format!("{address}/org/app:v1")
        .parse()
        .unwrap();
    let image = Client::new(options)
        .expect("options that can be used")
        .image(&reference)
        .await?;
    let platforms: Vec<_> = image
        .platforms
        .iter()
        .map(|it| it.platform.as_str())
        .collect();
    assert_eq!(platforms, ["linux/amd64"]);
    Ok(())
}

fn plain() -> ClientOptions {
    ClientOptions {
        plain_http: true,
        ..ClientOptions::default()
    }
}

async fn failure(address: &str, options: ClientOptions) -> (&'static str, String) {
    let error = ask(address, options).await.unwrap_err();
    (error.as_str(), error.to_string())
}

/// What a good registry answers.
fn good(head: &str) -> String {
    if head.contains("/manifests/v1 ") {
        answer("200 OK", "", MANIFEST)
    } else if head.contains("/blobs/") {
        answer("200 OK", "", CONFIG)
    } else if head.contains(" /v2/ ") {
        answer("200 OK", "", "{}")
    } else {
        answer("404 Not Found", "", "")
    }
}

#[tokio::test]
async fn an_image_without_an_index_has_the_platform_of_its_configuration() {
    let address = serve(None, good).await;
    assert_eq!(ask(&address, plain()).await, Ok(()));
}

#[tokio::test]
async fn a_registry_that_is_down_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap();
    let address = listener
        .local_addr()
        .unwrap()
        .to_string();
    drop(listener);
    for options in [plain(), ClientOptions::default()] {
        let (kind, message) = failure(&address, options).await;
        assert_eq!(kind, "unreachable");
        assert!(message.contains("refused"), "{message}");
    }
}

#[tokio::test]
async fn a_registry_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap();
    let address = listener
        .local_addr()
        .unwrap()
        .to_string();
    let options = ClientOptions {
        deadline: Duration::from_millis(200),
        ..ClientOptions::default()
    };
    let found = failure(&address, options).await;
    let message = "the registry did not answer within 0.2 s".to_owned();
    assert_eq!(found, ("unreachable", message));
}

#[tokio::test]
async fn answers_of_something_else_are_invalid() {
    let cases = [
        (
            answer("200 OK", "", " <!doctype html><html>"),
            "the registry answered with a web page in place of a manifest",
        ),
        (
            answer("200 OK", "", "OK"),
            "the registry answered with something else in place of a manifest",
        ),
        (
            answer("200 OK", "", "{}"),
            "the registry answered with a manifest that names no layers",
        ),
        (
            answer("200 OK", "", &"x".repeat(5 << 20)),
            "the registry answered with more than 4 MiB",
        ),
        (
            answer("503 Service Unavailable", "", ""),
            "the registry answered with 503 Service Unavailable",
        ),
        (
            answer("302 Found", "Location: /v2/org/app/manifests/v1\r\n", ""),
            "the registry sends us from one address to the next",
        ),
        (
            answer("302 Found", "Location: nowhere\r\n", ""),
            "the registry sends us to an address that is none",
        ),
    ];
    for (text, message) in cases {
        let address = serve(None, move |head| {
            if head.contains(" /v2/ ") {
                answer("200 OK", "", "{}")
            } else {
                text.clone()
            }
        })
        .await;
        assert_eq!(failure(&address, plain()).await.1, message);
    }
}

#[tokio::test]
async fn an_answer_with_another_digest_is_refused() {
    let address = serve(None, |head| {
        if head.contains("/blobs/") {
            answer("200 OK", "", "{}")
        } else {
            good(head)
        }
    })
    .await;
    let (kind, message) = failure(&address, plain()).await;
    assert_eq!(kind, "invalid");
    assert!(message.contains("digest"), "{message}");
}

#[tokio::test]
async fn plain_http_is_for_those_who_allow_it() {
    let address = serve(None, good).await;
    let found = failure(&address, ClientOptions::default()).await;
    assert_eq!(found, ("tls", "the registry does not speak TLS".to_owned()));
}

#[tokio::test]
async fn a_certificate_has_to_be_trusted() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let address = serve(Some(TlsAcceptor::from(Arc::new(config))), good).await;
    // Plain HTTP is for who does not speak TLS, and not a way around a certificate.
    for options in [ClientOptions::default(), plain()] {
        let (kind, message) = failure(&address, options).await;
        assert_eq!(kind, "tls", "{message}");
        assert!(message.contains("UnknownIssuer"), "{message}");
    }
    let trusting = ClientOptions {
        authorities: Some(made.cert.pem().into_bytes()),
        ..ClientOptions::default()
    };
    assert_eq!(ask(&address, trusting).await, Ok(()));
    let strange = ClientOptions {
        authorities: Some(b"no certificate".to_vec()),
        ..ClientOptions::default()
    };
    assert!(Client::new(strange).is_err());
}

/// A registry that hands out a token for a password, as most do.
async fn with_tokens() -> String {
    serve(None, |head| {
        let host = head
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .unwrap_or_default()
            .to_owned();
        let has = |value: &str| head.contains(&format!("authorization: {value}\r\n"));
        if head.contains(" /token?scope=repository:org/app:pull&service=us%20all ") {
            return if has("Basic dXNlcjpwYXNz") {
                answer("200 OK", "", r#"{"token":"pass-on"}"#)
            } else {
                answer("401 Unauthorized", "", "")
            };
        }
        if has("Bearer pass-on") {
            return good(head);
        }
        let challenge = format!(
            "WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"us all\"\r\n"
        );
        answer("401 Unauthorized", &challenge, "")
    })
    .await
}

fn credentials(address: &str, auth: &str) -> ClientOptions {
    let config = format!(r#"{{"auths": {{"{address}": {{"auth": "{auth}"}}}}}}"#);
    ClientOptions {
        credentials: Credentials::parse(&config).unwrap(),
        ..plain()
    }
}

#[tokio::test]
async fn a_token_is_fetched_with_the_password_for_the_registry() {
    let address = with_tokens().await;
    let right = credentials(&address, "dXNlcjpwYXNz");
    assert_eq!(ask(&address, right).await, Ok(()));
    let wrong = failure(&address, credentials(&address, "d3Jvbmc=")).await;
    assert_eq!(
        wrong,
        (
            "denied",
            "the registry refuses these credentials".to_owned()
        )
    );
    let none = failure(&address, credentials("other.example.com", "d3Jvbmc=")).await;
    assert_eq!(
        none,
        ("denied", "the registry wants credentials".to_owned())
    );
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_host() {
    let elsewhere = serve(None, |head| {
        assert!(!head.contains("authorization"), "{head}");
        good(head)
    })
    .await;
    let address = serve(None, move |head| {
        if head.contains(" /v2/ ") {
            good(head)
        } else if !head.contains("authorization: Basic dXNlcjpwYXNz\r\n") {
            answer("401 Unauthorized", "WWW-Authenticate: Basic\r\n", "")
        } else {
            let path = head.split(' ').nth(1).unwrap();
            let location = format!("Location: http://{elsewhere}{path}\r\n");
            answer("307 Temporary Redirect", &location, "")
        }
    })
    .await;
    let options = credentials(&address, "dXNlcjpwYXNz");
    assert_eq!(ask(&address, options).await, Ok(()));
}
