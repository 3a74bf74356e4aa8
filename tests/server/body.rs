//! Bodies: too large, too slow, of another type.

use std::time::{Duration, Instant};

use agentkube::server::body;

use crate::support::{Server, limits};

fn head(content_type: &str, length: usize, query: &str) -> Vec<u8> {
    format!("POST /review{query} HTTP/1.1\r\nHost: webhook\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n")
        .into_bytes()
}

#[tokio::test]
async fn a_body_of_the_limit_is_read_and_one_byte_more_is_answered() {
    let server = Server::start(limits());
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
    let server = Server::start(limits());
    let mut client = server.connect().await;
    let head = String::from_utf8(head("application/json", body::LIMIT_BYTES * 100, "")).unwrap();
    let head = head.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    client.send(head.as_bytes()).await;
    assert_eq!(client.answer().await.status, 413);
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_is_answered() {
    let server = Server::start(limits());
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
    let server = Server::start(limits());
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
    let server = Server::start(limits());
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
    assert_eq!(server.status().await, 200);
}
