//! One connection among others: kept, limited, unlucky.

use std::time::Duration;

use agentkube::server::Limits;
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use crate::support::{PATIENCE, Server, eventually, limits};

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
