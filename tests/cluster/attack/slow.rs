//! Clients that take their time.

use std::time::Duration;

use anyhow::ensure;
use tokio::{io::AsyncReadExt, time::sleep};

use super::{
    siege::{Ends, Siege},
    wire::{Wire, head},
};
use crate::cluster::Cluster;

/// More than there are places.
const SLOW: usize = 700;
const SESSIONS: usize = 2_000;
/// See `Limits::webhook`, and `body::TIME_LIMIT`.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
const BODY_LIMIT: Duration = Duration::from_secs(5);

pub(super) async fn slow_heads_and_idle_sessions(cluster: &Cluster) -> anyhow::Result<()> {
    let siege = Siege::start(cluster).await?;
    let ends = siege
        .withstand(&format!("{SLOW} heads, 1 byte a second"), async |target| {
            Ends::of(SLOW, SLOW, async |_| {
                let mut wire = target.connect().await?;
                drip(&mut wire, &head("/mutate", "Content-Length: 3000\r\n")).await
            })
            .await
        })
        .await?;
    ends.only(&["closed"])?;
    // Some have to wait for their handshake until others are done with theirs.
    ends.within(HEAD_LIMIT + Duration::from_secs(5))?;

    let ends = siege
        .withstand(
            &format!("{SESSIONS} sessions without a request"),
            async |target| {
                Ends::of(SESSIONS, SESSIONS, async |_| {
                    let mut wire = target.connect().await?;
                    let mut byte = [0];
                    tokio::select! {
                        _ = wire.stream.read(&mut byte) => Ok("closed".to_owned()),
                        () = sleep(Duration::from_secs(5)) => Ok("left by themselves".to_owned()),
                    }
                })
                .await
            },
        )
        .await?;
    ends.only(&["closed", "left by themselves"])?;
    ensure!(ends.count("closed") > 0, "all of them have had a place");
    Ok(())
}

pub(super) async fn slow_bodies(cluster: &Cluster) -> anyhow::Result<()> {
    let siege = Siege::start(cluster).await?;
    let ends = siege
        .withstand(&format!("{SLOW} bodies, 1 byte a second"), async |target| {
            Ends::of(SLOW, SLOW, async |_| {
                let mut wire = target.connect().await?;
                wire.send(&head("/mutate?timeout=30s", "Content-Length: 3000\r\n"))
                    .await?;
                drip(&mut wire, &[b' '; 3_000]).await
            })
            .await
        })
        .await?;
    ends.only(&["408", "closed"])?;
    ends.within(BODY_LIMIT + Duration::from_secs(5))?;

    // Each takes some of the memory that is set aside for large bodies, and then does not go on.
    let ends = siege
        .withstand("100 bodies that stop after 1 MiB", async |target| {
            Ends::of(100, 100, async |_| {
                let mut wire = target.connect().await?;
                wire.send(&head(
                    "/mutate?timeout=30s",
                    "Transfer-Encoding: chunked\r\n",
                ))
                .await?;
                wire.send(b"200000\r\n").await?;
                wire.send(&vec![b' '; 1 << 20]).await?;
                Ok(wire.end().await)
            })
            .await
        })
        .await?;
    ends.only(&["408", "503", "closed"])?;
    ends.within(BODY_LIMIT)
}

/// Sends a byte a second until the manager has enough.
async fn drip(wire: &mut Wire, bytes: &[u8]) -> anyhow::Result<String> {
    for byte in bytes {
        tokio::select! {
            end = wire.end() => return Ok(end),
            () = sleep(Duration::from_secs(1)) => wire.send(&[*byte]).await?,
        }
    }
    Ok("hangs".to_owned())
}
