//! The end of a replica.

use std::time::{Duration, Instant};

use agentkube::{
    server::{Limits, Shutdown, bind, serve},
    telemetry::Metrics,
};
use axum::{Router, routing::get};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{PATIENCE, Server, limits};

#[tokio::test]
async fn a_drain_answers_with_connection_close_and_finishes_what_is_in_flight() {
    let drain = Duration::from_millis(1500);
    let server = Server::start(Limits::webhook(drain));
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
    });
    let mut stuck = server.connect().await;
    stuck
        .send(b"GET /held HTTP/1.1\r\nHost: webhook\r\n\r\n")
        .await;
    // One answer on another connection: the held request has had its turn.
    assert_eq!(server.status().await, 200);

    server.shutdown.drain();

    timeout(PATIENCE, server.task)
        .await
        .unwrap()
        .unwrap();
    assert!(stuck.is_closed().await);
}

#[tokio::test]
async fn a_plain_listener_serves_until_the_shutdown_has_finished() {
    let listener = bind(([127, 0, 0, 1], 0).into(), "--probes-port").unwrap();
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
