//! Registries as they are on bad days: what `agentkube images check` makes of them, within its
//! limits.

#![cfg(test)]

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
            "the registry answered with a web page instead of a manifest",
        ),
        (
            answer("200 OK", "", "OK"),
            "the registry answered with something else instead of a manifest",
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
            "the registry redirected too often",
        ),
        (
            answer("302 Found", "Location: nowhere\r\n", ""),
            "the registry pointed to an invalid URL",
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

/// An index of an image for many platforms.
fn index_of(platforms: usize) -> String {
    let children: Vec<_> = (0..platforms)
        .map(|number| {
            format!(
                r#"{{"digest":"sha256:{number:064}","platform":{{"os":"linux","architecture":"a{number}"}}}}"#
            )
        })
        .collect();
    format!(r#"{{"manifests":[{}]}}"#, children.join(","))
}

#[tokio::test]
async fn a_registry_that_drips_is_given_up() {
    // Each answer is in time, and all of them together are not.
    let address = serve(None, |head| {
        std::thread::sleep(Duration::from_millis(100));
        if head.contains("/manifests/v1 ") {
            answer("200 OK", "", &index_of(64))
        } else if head.contains(" /v2/ ") {
            good(head)
        } else {
            answer("404 Not Found", "", "")
        }
    })
    .await;
    let options = ClientOptions {
        deadline: Duration::from_millis(500),
        ..plain()
    };
    let message = "the registry did not answer everything within 2 s".to_owned();
    assert_eq!(failure(&address, options).await, ("unreachable", message));
}

#[tokio::test]
async fn a_manifest_that_no_image_has_is_invalid() {
    let blob = |digits: &str| format!(r#"{{"digest":"sha256:{digits}","size":1}}"#);
    for layers in [vec![blob("0"); 1000].join(","), blob(&"0".repeat(1000))] {
        let manifest = format!(r#"{{"config":{},"layers":[{layers}]}}"#, blob("0"));
        let address = serve(None, move |head| {
            if head.contains("/manifests/") {
                answer("200 OK", "", &manifest)
            } else {
                good(head)
            }
        })
        .await;
        let message = "the registry answered with a manifest of an impossible size";
        let expected = ("invalid", message.to_owned());
        assert_eq!(failure(&address, plain()).await, expected);
    }
}

#[tokio::test]
async fn an_entry_of_an_index_has_the_digest_that_it_is_found_by() {
    // Without an algorithm there would be nothing to compare.
    let index =
        r#"{"manifests":[{"digest":"v1","platform":{"os":"linux","architecture":"amd64"}}]}"#;
    let address = serve(None, move |head| {
        if head.contains("/manifests/") {
            answer("200 OK", "", index)
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
