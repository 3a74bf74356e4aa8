//! Registries as they are on bad days: what `agentkube images check` makes of them, within its
//! limits.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod credentials;
mod fake;
mod proxies;

use std::time::Duration;

use agentkube::registry::{Client, ClientOptions};
use tokio::net::TcpListener;

use crate::fake::{answer, ask, failure, good, plain, serve, tls};

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
    let (acceptor, authority) = tls("127.0.0.1");
    let address = serve(Some(acceptor), good).await;
    // Plain HTTP is for who does not speak TLS, and not a way around a certificate.
    for options in [ClientOptions::default(), plain()] {
        let (kind, message) = failure(&address, options).await;
        assert_eq!(kind, "tls", "{message}");
        assert!(message.contains("UnknownIssuer"), "{message}");
    }
    let trusting = ClientOptions {
        authorities: Some(authority.into_bytes()),
        ..ClientOptions::default()
    };
    assert_eq!(ask(&address, trusting).await, Ok(()));
    let strange = ClientOptions {
        authorities: Some(b"no certificate".to_vec()),
        ..ClientOptions::default()
    };
    assert!(Client::new(strange).is_err());
}
