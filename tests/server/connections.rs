//! One connection among others: kept, limited, unlucky.

use std::{sync::atomic::Ordering, time::Duration};

use agentkube::server::{
    Limits,
    connections::connection::{HEAD_LIMIT_BYTES, MOST_HEADERS},
};
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use crate::support::{PATIENCE, Server, eventually, limits};

#[tokio::test]
async fn speaks_http_1_over_tls_and_keeps_the_connection() {
    let server = Server::start(limits());
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
    let server = Server::start(limits);
    let mut silent = TcpStream::connect(server.address)
        .await
        .unwrap();

    assert_eq!(server.status().await, 200);

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
async fn beyond_the_cap_the_one_that_was_never_answered_goes_first() {
    let server = Server::start(Limits {
        connections: 2,
        ..limits()
    });
    let mut good = server.connect().await;
    assert_eq!(good.get("/").await.status, 200);
    let mut silent = TcpStream::connect(server.address)
        .await
        .unwrap();
    let mut idle = server.connect().await;

    let mut byte = [0];
    let ended = timeout(PATIENCE, silent.read(&mut byte))
        .await
        .unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    assert_eq!(server.status().await, 200);
    assert!(idle.is_closed().await, "it has a session and nothing else");
    assert_eq!(good.get("/").await.status, 200);
    assert_eq!(
        server
            .scrape("agentkube_connections_evicted_total")
            .await,
        "2"
    );
}

#[tokio::test]
async fn connections_wait_while_all_others_are_being_answered() {
    let server = Server::start(Limits {
        connections: 1,
        ..limits()
    });
    let mut busy = server.connect().await;
    busy.send(b"GET /held HTTP/1.1\r\nHost: webhook\r\n\r\n")
        .await;
    eventually("the request's turn", async || {
        server.held.load(Ordering::Relaxed) == 1
    })
    .await;

    let second = server.connect();
    tokio::pin!(second);
    assert!(
        timeout(Duration::from_millis(300), &mut second)
            .await
            .is_err(),
        "a second connection was taken"
    );

    server.release.notify_one();
    assert_eq!(busy.answer().await.status, 200);
    assert_eq!(second.await.get("/").await.status, 200);
}

#[tokio::test]
async fn a_head_has_less_time_than_the_pause_before_it() {
    let server = Server::start(Limits {
        head: Duration::from_millis(300),
        ..limits()
    });
    let mut pausing = server.connect().await;
    assert_eq!(pausing.get("/").await.status, 200);
    let mut slow = server.connect().await;
    slow.send(b"GET / HTTP/1.1\r\nHost: web")
        .await;
    assert!(slow.is_closed().await);
    assert_eq!(pausing.get("/").await.status, 200);
}

#[tokio::test]
async fn a_head_that_is_too_long_is_answered() {
    let server = Server::start(limits());
    for head in [
        format!(
            "GET / HTTP/1.1\r\nHost: webhook\r\nX: {}\r\n\r\n",
            "x".repeat(HEAD_LIMIT_BYTES)
        ),
        format!(
            "GET / HTTP/1.1\r\nHost: webhook\r\n{}\r\n",
            "X: x\r\n".repeat(MOST_HEADERS)
        ),
    ] {
        let mut client = server.connect().await;
        client.send(head.as_bytes()).await;
        assert_eq!(client.answer().await.status, 431);
        assert!(client.is_closed().await);
    }
}

#[tokio::test]
async fn requests_in_one_go_are_answered_in_their_order() {
    let server = Server::start(limits());
    let mut client = server.connect().await;
    let requests = "POST /review HTTP/1.1\r\nHost: webhook\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n1\
                    GET / HTTP/1.1\r\nHost: webhook\r\n\r\n";
    client
        .send(requests.repeat(20).as_bytes())
        .await;
    for _ in 0..20 {
        assert_eq!(client.answer().await.body, "1");
        assert_eq!(client.answer().await.body, "hello");
    }
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_only() {
    let server = Server::start(limits());
    let mut calm = server.connect().await;
    let mut unlucky = server.connect().await;
    unlucky
        .send(b"GET /panic HTTP/1.1\r\nHost: webhook\r\n\r\n")
        .await;
    assert!(unlucky.is_closed().await);
    assert_eq!(calm.get("/").await.status, 200);
    assert_eq!(server.status().await, 200);
    eventually("the slot's return", async || {
        server
            .scrape("agentkube_connections ")
            .await
            == "1"
    })
    .await;
}
