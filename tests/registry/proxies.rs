//! Registries behind a proxy.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::fake::{check, good, serve, tls};

/// A proxy that connects everybody who knows the password to `registry`, whatever they ask for;
/// its host and port, and the lines that it was asked with.
async fn proxy(registry: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap();
    let address = listener
        .local_addr()
        .unwrap()
        .to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (registry, seen) = (registry.clone(), seen.clone());
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await?);
                }
                let head = String::from_utf8(head).unwrap();
                let line = head.lines().next().unwrap_or_default();
                seen.lock()
                    .unwrap()
                    .push(line.to_owned());
                if !head.contains("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n") {
                    let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
                    return stream.write_all(refusal).await;
                }
                stream
                    .write_all(b"HTTP/1.1 200 Connected\r\n\r\n")
                    .await?;
                let mut registry = TcpStream::connect(registry).await?;
                copy_bidirectional(&mut stream, &mut registry).await?;
                Ok(())
            });
        }
    });
    (address, asked)
}

#[tokio::test]
async fn a_proxy_is_used_as_the_environment_says() {
    let (acceptor, authority) = tls("registry.invalid");
    let registry = serve(Some(acceptor), good).await;
    let (proxy, asked) = proxy(registry).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, authority).unwrap();
    let arguments = [
        "--ca-file",
        file.to_str().unwrap(),
        "--set",
        "AGENTKUBE_IMAGE_REGISTRY=registry.invalid:5000",
    ];

    let through = format!("http://user:pass@{proxy}");
    let found = check(&arguments, &[("HTTPS_PROXY", &through)]).await;
    assert_eq!(found, (Some(0), String::new()));
    let asked = std::mem::take(&mut *asked.lock().unwrap());
    assert!(!asked.is_empty());
    for line in asked {
        assert_eq!(line, "CONNECT registry.invalid:5000 HTTP/1.1");
    }

    for (through, reason) in [
        (
            format!("http://user:SECRET@{proxy}"),
            "tunnel error: proxy authorization required",
        ),
        (
            format!("socks5://user:SECRET@{proxy}"),
            "only `http://` proxies are supported",
        ),
    ] {
        let (status, said) = check(&arguments, &[("https_proxy", &through)]).await;
        assert_eq!(status, Some(2));
        let expected = format!("cannot connect through the proxy `{proxy}`: {reason}");
        assert!(
            said.lines()
                .all(|line| line.ends_with(&expected)),
            "{said}"
        );
        assert_eq!(said.lines().count(), 10);
    }
}

#[tokio::test]
async fn no_proxy_is_used_for_whom_the_environment_excepts() {
    let (acceptor, authority) = tls("127.0.0.1");
    let registry = serve(Some(acceptor), good).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, authority).unwrap();
    let setting = format!("AGENTKUBE_IMAGE_REGISTRY={registry}");
    let arguments = ["--ca-file", file.to_str().unwrap(), "--set", &setting];
    // Nobody listens on port 1.
    let environment = [
        ("HTTPS_PROXY", "http://127.0.0.1:1"),
        ("NO_PROXY", "example.com,127.0.0.0/8"),
    ];
    let found = check(&arguments, &environment).await;
    assert_eq!(found, (Some(0), String::new()));
    let (status, said) = check(&arguments, &environment[..1]).await;
    assert_eq!(status, Some(2));
    assert!(
        said.contains("cannot connect through the proxy `127.0.0.1:1`: Connection refused"),
        "{said}"
    );
}
