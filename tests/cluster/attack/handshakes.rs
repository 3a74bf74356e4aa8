//! TLS that does not get as far as a request.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::{CipherSuite, ConnectionTrafficSecrets, version};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};

use super::{
    siege::{Ends, Siege, most_connections, usual},
    wire::{Target, until_closed},
};
use crate::cluster::Cluster;

const HALF_OPEN: usize = 10_000;
/// More than there are places.
const LARGE_HELLOS: usize = 700;
/// The longest handshake message that the TLS library reads, but for a little.
const LARGE_HELLO_BYTES: usize = 60 * 1024;
/// See `Limits::webhook`.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn half_open_handshakes(cluster: &Cluster) -> anyhow::Result<()> {
    let siege = Siege::start(cluster).await?;
    let count = most_connections(HALF_OPEN);
    let hello = siege.target.client_hello()?;
    let ends = siege
        .withstand(&format!("{count} half-open handshakes"), async |target| {
            Ends::of(count, count, async |index| {
                // Four each millisecond: more at once, and the kernel turns them away.
                sleep(Duration::from_micros(250) * u32::try_from(index)?).await;
                let mut stream = target.tcp().await?;
                // One half says nothing, the other half of what it should.
                if index % 2 == 1 {
                    stream
                        .write_all(&hello[..hello.len() / 2])
                        .await?;
                }
                Ok(until_closed(&mut stream).await)
            })
            .await
        })
        .await?;
    ends.only(&["closed"])?;
    // The last of them comes after 2.5 s, and may be one that only its client knows.
    ends.within(HANDSHAKE_LIMIT + Duration::from_secs(8))?;

    let ends = siege
        .withstand(
            &format!("{LARGE_HELLOS} handshakes of 60 KiB without an end"),
            async |target| {
                Ends::of(LARGE_HELLOS, LARGE_HELLOS, async |_| {
                    let mut stream = target.tcp().await?;
                    stream.write_all(&large_hello()).await?;
                    Ok(until_closed(&mut stream).await)
                })
                .await
            },
        )
        .await?;
    ends.only(&["closed"])?;
    ends.within(HANDSHAKE_LIMIT)
}

/// A `ClientHello` that announces a byte more than it has.
fn large_hello() -> Vec<u8> {
    let length = u32::try_from(LARGE_HELLO_BYTES + 1)
        .unwrap_or_default()
        .to_be_bytes();
    let mut message = vec![1, length[1], length[2], length[3], 3, 3];
    message.resize(LARGE_HELLO_BYTES, 0);
    message
        .chunks(16 * 1024)
        .flat_map(|chunk| {
            let length = u16::try_from(chunk.len())
                .unwrap_or_default()
                .to_be_bytes();
            [[22, 3, 1, length[0], length[1]].as_slice(), chunk].concat()
        })
        .collect()
}

pub(super) async fn old_and_odd_handshakes(cluster: &Cluster) -> anyhow::Result<()> {
    const TIMES: usize = 50;

    let siege = Siege::start(cluster).await?;
    let ends = siege
        .withstand("TLS 1.1", async |target| {
            let hello = old_hello(&target.client_hello()?);
            Ends::of(TIMES, 5, async |_| {
                let mut stream = target.tcp().await?;
                stream.write_all(&hello).await?;
                let mut alert = Vec::new();
                stream.read_to_end(&mut alert).await?;
                Ok(format!("refused with the alert {:?}", alert.get(5..)))
            })
            .await
        })
        .await?;
    // Fatal: it is not what the two can agree on.
    ends.only(&["refused with the alert Some([2, 40])"])?;

    let ends = siege
        .withstand("HTTP/2 alone, by ALPN", async |target| {
            let mut config = target.config(rustls::ALL_VERSIONS)?;
            config.alpn_protocols = vec![b"h2".to_vec()];
            let config = Arc::new(config);
            Ends::of(TIMES, 5, async |_| {
                let name = target.address.ip().into();
                match target
                    .connect_with(config.clone(), name)
                    .await
                {
                    Ok(_) => Ok("connected".to_owned()),
                    Err(error) => Ok(format!("refused: {}", error.root_cause())),
                }
            })
            .await
        })
        .await?;
    ensure!(ends.count("connected") == 0, "{ends}");

    let ends = siege
        .withstand("renegotiation", async |target| {
            Ends::of(TIMES, 5, async |_| renegotiate(target).await).await
        })
        .await?;
    ends.only(&["closed"])?;
    ends.within(Duration::from_secs(1))
}

/// What a client sends that knows nothing above TLS 1.1.
fn old_hello(hello: &[u8]) -> Vec<u8> {
    // Record and message have a version each; then come the random number and the session's id. What
    // is left out are the extensions, the newer versions among them.
    let session = usize::from(hello[43]);
    let suites = 44 + session;
    let suites_length = usize::from(u16::from_be_bytes([hello[suites], hello[suites + 1]]));
    let end = suites + 2 + suites_length + 2;
    let mut old = hello[..end].to_vec();
    old[1..3].copy_from_slice(&[3, 2]);
    old[9..11].copy_from_slice(&[3, 2]);
    let record = u16::try_from(end - 5).unwrap_or_default();
    old[3..5].copy_from_slice(&record.to_be_bytes());
    let message = u16::try_from(end - 9).unwrap_or_default();
    old[6] = 0;
    old[7..9].copy_from_slice(&message.to_be_bytes());
    old
}

/// Asks again and again for a new handshake inside of a session, as TLS 1.2 has it. Client libraries
/// no longer do that, so that the records are sealed here.
async fn renegotiate(target: &Target) -> anyhow::Result<String> {
    const REQUESTS: u64 = 20;

    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| {
        suite.suite() == CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
    });
    let mut config = target.config_with(provider, &[&version::TLS12])?;
    config.enable_secret_extraction = true;
    let mut wire = target
        .connect_with(Arc::new(config), target.address.ip().into())
        .await?;
    wire.post("/mutate", &usual()).await?;
    ensure!(wire.answer().await?.status == 200, "the session works");

    let (mut stream, connection) = wire.stream.into_inner();
    let (first, secrets) = connection
        .dangerous_extract_secrets()?
        .tx;
    let ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } = secrets else {
        bail!("another cipher was chosen");
    };
    let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_ref())
        .map(LessSafeKey::new)
        .ok()
        .context("a key")?;
    let hello = target.client_hello()?;
    for number in first..first + REQUESTS {
        let number = number.to_be_bytes();
        let mut nonce: [u8; 12] = iv.as_ref().try_into()?;
        for (byte, number) in nonce.iter_mut().skip(4).zip(number) {
            *byte ^= number;
        }
        let mut message = hello[5..].to_vec();
        let length = u16::try_from(message.len())?.to_be_bytes();
        let header = [22, 3, 3, length[0], length[1]];
        let aad = Aad::from([number.as_slice(), &header].concat());
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut message)
            .ok()
            .context("a sealed record")?;
        let length = u16::try_from(message.len())?.to_be_bytes();
        let header = [22, 3, 3, length[0], length[1]];
        stream
            .write_all(&[header.as_slice(), &message].concat())
            .await?;
    }
    Ok(until_closed(&mut stream).await)
}
