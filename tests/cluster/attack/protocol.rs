//! HTTP that is not ours, and clients that do not listen.

use std::time::Duration;

use anyhow::ensure;
use rustls::pki_types::ServerName;
use tokio::{
    io::AsyncWriteExt,
    time::{sleep, timeout},
};

use super::{
    siege::{Ends, Siege, usual},
    wire::{head, until_closed},
};
use crate::cluster::Cluster;

const TIMES: usize = 100;

pub(super) async fn requests_that_are_not_ours(cluster: &Cluster) -> anyhow::Result<()> {
    let siege = Siege::start(cluster).await?;
    let long = format!(
        "GET / HTTP/1.1\r\nHost: w\r\nX: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: w\r\n{}\r\n",
        "X: x\r\n".repeat(100)
    );
    let path = format!("GET /{} HTTP/1.1\r\nHost: w\r\n\r\n", "x".repeat(15_000));
    for (attack, request, expected) in [
        (
            "HTTP/2 preface",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            ["closed", "400"],
        ),
        ("HTTP/0.9", "GET /\r\n\r\n", ["400", "closed"]),
        (
            "no HTTP at all",
            "\x00\x01\x02\x03\r\n\r\n",
            ["400", "closed"],
        ),
        (
            "a path that is not there",
            "POST /x HTTP/1.1\r\nHost: w\r\nContent-Length: 0\r\n\r\n",
            ["404", "404"],
        ),
        ("a path of 15,000 bytes", &path, ["404", "414"]),
        (
            "another method",
            "GET /mutate HTTP/1.1\r\nHost: w\r\n\r\n",
            ["405", "405"],
        ),
        (
            "a method that nobody knows",
            "BREW /mutate HTTP/1.1\r\nHost: w\r\n\r\n",
            ["405", "405"],
        ),
        (
            "CONNECT",
            "CONNECT w:443 HTTP/1.1\r\nHost: w:443\r\n\r\n",
            ["404", "405"],
        ),
        (
            "no type",
            "POST /mutate HTTP/1.1\r\nHost: w\r\nContent-Length: 2\r\n\r\n{}",
            ["415", "415"],
        ),
        ("a head of 20,000 bytes", &long, ["431", "431"]),
        ("100 headers", &many, ["431", "431"]),
    ] {
        let ends = siege
            .withstand(attack, async |target| {
                Ends::of(TIMES, 5, async |_| {
                    let mut wire = target.connect().await?;
                    wire.send(request.as_bytes()).await?;
                    Ok(wire.end().await)
                })
                .await
            })
            .await?;
        ends.only(&expected)?;
        ends.within(Duration::from_secs(1))?;
    }

    let ends = siege
        .withstand("HTTP without TLS", async |target| {
            Ends::of(TIMES, 5, async |_| {
                let mut stream = target.tcp().await?;
                stream
                    .write_all(b"GET / HTTP/1.1\r\nHost: w\r\n\r\n")
                    .await?;
                Ok(until_closed(&mut stream).await)
            })
            .await
        })
        .await?;
    ends.only(&["closed"])
}

pub(super) async fn reviews_in_one_go_and_by_another_name(cluster: &Cluster) -> anyhow::Result<()> {
    let siege = Siege::start(cluster).await?;
    let ends = siege
        .withstand("200 reviews in one go, 20 times", async |target| {
            let mut request = head("/mutate", &format!("Content-Length: {}\r\n", usual().len()));
            request.extend(usual());
            let requests = request.repeat(200);
            Ends::of(20, 4, async |_| {
                let mut wire = target.connect().await?;
                let (mut reading, mut writing) = (0, 0);
                // Both at once, or both sides wait for the other to read.
                while reading < 200 {
                    let rest = &requests[writing..(writing + 8192).min(requests.len())];
                    if rest.is_empty() {
                        ensure!(wire.answer().await?.status == 200, "an answer");
                        reading += 1;
                        continue;
                    }
                    tokio::select! {
                        answer = wire.answer() => {
                            ensure!(answer?.status == 200, "an answer");
                            reading += 1;
                        }
                        () = sleep(Duration::from_millis(1)) => {
                            wire.send(rest).await?;
                            writing += rest.len();
                        }
                    }
                }
                Ok("200 answers, in their order".to_owned())
            })
            .await
        })
        .await?;
    ends.only(&["200 answers, in their order"])?;

    let ends = siege
        .withstand("another name by SNI", async |target| {
            let config = std::sync::Arc::new(target.config(rustls::ALL_VERSIONS)?);
            Ends::of(TIMES, 5, async |_| {
                let name = ServerName::try_from("attacker.example.com")?;
                match target
                    .connect_with(config.clone(), name)
                    .await
                {
                    // The name is not looked at: it is the client who has to refuse.
                    Err(error)
                        if error
                            .to_string()
                            .contains("invalid peer certificate") =>
                    {
                        Ok("the certificate is served, the client refuses".to_owned())
                    }
                    Err(error) => Err(error),
                    Ok(_) => Ok("connected".to_owned()),
                }
            })
            .await
        })
        .await?;
    ends.only(&["the certificate is served, the client refuses"])
}

/// Clients that ask and ask, and never read an answer.
pub(super) async fn unread_answers(cluster: &Cluster) -> anyhow::Result<()> {
    const CLIENTS: usize = 100;

    let siege = Siege::start(cluster).await?;
    let requests = "GET /x HTTP/1.1\r\nHost: w\r\n\r\n".repeat(300);
    let ends = siege
        .withstand(
            &format!("{CLIENTS} clients that read no answer"),
            async |target| {
                Ends::of(CLIENTS, CLIENTS, async |_| {
                    let mut wire = target.connect().await?;
                    // Until nothing more is taken.
                    for _ in 0..200 {
                        let sending = wire.send(requests.as_bytes());
                        match timeout(Duration::from_millis(500), sending).await {
                            Ok(sent) => sent?,
                            Err(_) => break,
                        }
                    }
                    sleep(Duration::from_secs(3)).await;
                    Ok("left by themselves".to_owned())
                })
                .await
            },
        )
        .await?;
    ends.only(&["closed", "left by themselves"])
}
