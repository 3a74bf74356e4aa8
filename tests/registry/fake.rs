//! Registries that answer what a test says.

use std::sync::Arc;

use agentkube::{
    images::ImageReference,
    registry::{AskError, Client, ClientOptions},
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

/// How a fake registry answers a request, of which it is told all.
type Answers = dyn Fn(&str) -> String + Send + Sync;

pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n{body}")
}

/// Serves on the loopback interface; host and port.
pub(crate) async fn serve(
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
    let mut request = String::from_utf8_lossy(&head).into_owned();
    let length = request
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    if stream
        .read_exact(&mut body)
        .await
        .is_err()
    {
        return;
    }
    request.push_str(&String::from_utf8_lossy(&body));
    let text = answers(&request);
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

pub(crate) async fn ask(address: &str, options: ClientOptions) -> Result<(), AskError> {
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

pub(crate) fn plain() -> ClientOptions {
    ClientOptions {
        plain_http: true,
        ..ClientOptions::default()
    }
}

pub(crate) async fn failure(address: &str, options: ClientOptions) -> (&'static str, String) {
    let error = ask(address, options).await.unwrap_err();
    (error.as_str(), error.to_string())
}

/// What a good registry answers.
pub(crate) fn good(head: &str) -> String {
    if head.contains("/manifests/v") {
        answer("200 OK", "", MANIFEST)
    } else if head.contains("/blobs/") {
        answer("200 OK", "", CONFIG)
    } else if head.contains(" /v2/ ") {
        answer("200 OK", "", "{}")
    } else {
        answer("404 Not Found", "", "")
    }
}

/// TLS for a name, and the authority to trust in PEM.
pub(crate) fn tls(name: &str) -> (TlsAcceptor, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), made.cert.pem())
}

/// Runs `agentkube images check`; the exit status, and what was said.
pub(crate) async fn check(
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> (Option<i32>, String) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_agentkube"))
        .args(["images", "check"])
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}
