//! Bodies that are too much, or not what their heads say.

use std::time::{Duration, Instant};

use agentkube::server::body::LIMIT_BYTES;
use anyhow::ensure;

use super::{
    siege::{Ends, Siege, usual},
    wire::head,
};
use crate::cluster::Cluster;

const LARGE: usize = 48;
const AT_ONCE: usize = 16;

pub(super) async fn bodies_without_end_or_with_a_wrong_length(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let siege = Siege::start(cluster).await?;
    let ends = siege
        .withstand("16 bodies without an end", async |target| {
            Ends::of(16, 8, async |_| {
                let mut wire = target.connect().await?;
                wire.send(&head("/mutate", "Transfer-Encoding: chunked\r\n"))
                    .await?;
                let chunk = [b"10000\r\n".as_slice(), &vec![b' '; 0x10000], b"\r\n"].concat();
                // 64 MiB, of which nobody reads a quarter.
                for _ in 0..1024 {
                    if wire.send(&chunk).await.is_err() {
                        break;
                    }
                }
                Ok(wire.end().await)
            })
            .await
        })
        .await?;
    ends.only(&["413", "503", "closed"])?;
    ends.within(Duration::from_secs(5))?;

    for (lie, headers, body) in [
        (
            "a chunk that is shorter than it says",
            "Transfer-Encoding: chunked\r\n",
            "ff\r\n{}\r\n0\r\n\r\n",
        ),
        (
            "a chunk that is longer than it says",
            "Transfer-Encoding: chunked\r\n",
            "1\r\n{}{}{}{}\r\n0\r\n\r\n",
        ),
        (
            "a chunk's length beyond all numbers",
            "Transfer-Encoding: chunked\r\n",
            "fffffffffffffffff\r\n{}",
        ),
        (
            "a chunk's length that is none",
            "Transfer-Encoding: chunked\r\n",
            "-2\r\n{}\r\n0\r\n\r\n",
        ),
        (
            "a length and chunks",
            "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
            "2\r\n{}\r\n0\r\n\r\n",
        ),
        (
            "two lengths",
            "Content-Length: 2\r\nContent-Length: 3\r\n",
            "{}x",
        ),
        ("a negative length", "Content-Length: -1\r\n", "{}"),
        (
            "a length beyond the limit",
            "Content-Length: 99999999999999\r\n",
            "{}",
        ),
        (
            "an encoding that nobody knows",
            "Transfer-Encoding: bogus\r\n",
            "{}",
        ),
    ] {
        let ends = siege
            .withstand(lie, async |target| {
                Ends::of(20, 5, async |_| {
                    let mut wire = target.connect().await?;
                    wire.send(&head("/mutate?timeout=2s", headers))
                        .await?;
                    wire.send(body.as_bytes()).await?;
                    Ok(wire.end().await)
                })
                .await
            })
            .await?;
        ends.only(&["400", "408", "413", "closed"])?;
        ends.within(Duration::from_secs(2))?;
    }
    Ok(())
}

pub(super) async fn many_bodies_of_the_largest_size(cluster: &Cluster) -> anyhow::Result<()> {
    let siege = Siege::start(cluster).await?;
    let mut body = usual();
    body.resize(LIMIT_BYTES, b' ');
    let attack = format!("{LARGE} bodies of 7 MiB, {AT_ONCE} at a time");
    let ends = siege
        .withstand(&attack, async |target| {
            Ends::of(LARGE, AT_ONCE, async |_| {
                let mut wire = target.connect().await?;
                wire.post("/mutate?timeout=30s", &body)
                    .await?;
                let answer = wire.answer().await?;
                ensure!(
                    answer.status != 503 || answer.head.contains("retry-after: 1"),
                    "{answer:?}"
                );
                Ok(answer.status.to_string())
            })
            .await
        })
        .await?;
    // Not every client reads its answer before it notices that nobody reads on.
    ends.only(&["200", "408", "503", "closed"])?;
    ensure!(ends.count("200") > 0, "none of them was answered");

    // Once they are gone, there is room again.
    let start = Instant::now();
    let mut wire = siege.target.connect().await?;
    wire.post("/mutate", &body).await?;
    let answer = wire.answer().await?;
    ensure!(answer.status == 200, "{answer:?}");
    println!("one body of 7 MiB alone: {:?}", start.elapsed());
    Ok(())
}
