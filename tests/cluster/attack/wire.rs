//! Connections to a manager that speak TLS and HTTP by hand, so that they can do it wrong.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use agentkube_playground::{Manager, webhook_authority};
use anyhow::{bail, ensure};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs::default_provider},
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::cluster::Cluster;

/// How long anything may take before the manager counts as one that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the manager may let a connection stand on which nothing is said: the limit of a
/// handshake, and some time for a busy machine.
const SILENCE: Duration = Duration::from_secs(15);

/// Where the manager listens, and whom it is trusted by.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    roots: Arc<RootCertStore>,
    config: Arc<ClientConfig>,
}

impl Target {
    pub(super) async fn of(cluster: &Cluster, manager: &Manager) -> anyhow::Result<Self> {
        let authority = webhook_authority(cluster.client()).await?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&authority) {
            roots.add(certificate?)?;
        }
        let roots = Arc::new(roots);
        Ok(Self {
            address: ([127, 0, 0, 1], manager.webhook_port()).into(),
            config: Arc::new(config(
                roots.clone(),
                default_provider(),
                rustls::ALL_VERSIONS,
            )?),
            roots,
        })
    }

    /// A client's configuration that is not the usual one.
    pub(super) fn config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> anyhow::Result<ClientConfig> {
        self.config_with(default_provider(), versions)
    }

    /// A client's configuration with other cryptography.
    pub(super) fn config_with(
        &self,
        provider: CryptoProvider,
        versions: &[&'static SupportedProtocolVersion],
    ) -> anyhow::Result<ClientConfig> {
        config(self.roots.clone(), provider, versions)
    }

    pub(super) async fn tcp(&self) -> anyhow::Result<TcpStream> {
        Ok(timeout(PATIENCE, TcpStream::connect(self.address)).await??)
    }

    pub(super) async fn connect(&self) -> anyhow::Result<Wire> {
        self.connect_with(self.config.clone(), self.address.ip().into())
            .await
    }

    pub(super) async fn connect_with(
        &self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> anyhow::Result<Wire> {
        let connecting = TlsConnector::from(config).connect(name, self.tcp().await?);
        Ok(Wire {
            stream: timeout(PATIENCE, connecting).await??,
            buffer: Vec::new(),
        })
    }

    /// The first message of a handshake.
    pub(super) fn client_hello(&self) -> anyhow::Result<Vec<u8>> {
        let mut connection = ClientConnection::new(self.config.clone(), self.address.ip().into())?;
        let mut hello = Vec::new();
        connection.write_tls(&mut hello)?;
        Ok(hello)
    }
}

fn config(
    roots: Arc<RootCertStore>,
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
) -> anyhow::Result<ClientConfig> {
    Ok(ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// A TLS connection.
pub(super) struct Wire {
    pub(super) stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Wire {
    pub(super) async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let sending = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        Ok(timeout(PATIENCE, sending).await??)
    }

    /// Sends a review with this body.
    pub(super) async fn post(&mut self, path: &str, body: &[u8]) -> anyhow::Result<()> {
        let mut request = head(path, &format!("Content-Length: {}\r\n", body.len()));
        request.extend(body);
        self.send(&request).await
    }

    /// Reads one answer.
    pub(super) async fn answer(&mut self) -> anyhow::Result<Answer> {
        timeout(PATIENCE, async {
            loop {
                if let Some(answer) = self.parse()? {
                    return Ok(answer);
                }
                let read = self
                    .stream
                    .read_buf(&mut self.buffer)
                    .await?;
                ensure!(read > 0, "closed");
            }
        })
        .await?
    }

    /// How the manager ends what was begun: with an answer, or without.
    pub(super) async fn end(&mut self) -> String {
        match self.answer().await {
            Ok(answer) => answer.status.to_string(),
            Err(error) if error.is::<tokio::time::error::Elapsed>() => "hangs".to_owned(),
            Err(_) => "closed".to_owned(),
        }
    }

    fn parse(&mut self) -> anyhow::Result<Option<Answer>> {
        let Some(end) = self
            .buffer
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
        else {
            return Ok(None);
        };
        let head = std::str::from_utf8(&self.buffer[..end])?.to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(Ok(0), str::parse::<usize>)?;
        if self.buffer.len() < end + 4 + length {
            return Ok(None);
        }
        let body = String::from_utf8(self.buffer[end + 4..end + 4 + length].to_vec())?;
        self.buffer.drain(..end + 4 + length);
        let Some(status) = head.split(' ').nth(1) else {
            bail!("no status in {head:?}");
        };
        Ok(Some(Answer {
            status: status.parse()?,
            head,
            body,
        }))
    }
}

/// The head of a review.
pub(super) fn head(path: &str, headers: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: webhook\r\nContent-Type: application/json\r\n{headers}\r\n"
    )
    .into_bytes()
}

/// Waits until the manager ends a connection, and says whether it did.
pub(super) async fn until_closed(stream: &mut TcpStream) -> String {
    let mut heard = [0; 1024];
    for _ in 0..2 {
        let reading =
            async { while matches!(stream.read(&mut heard).await, Ok(read) if read > 0) {} };
        if timeout(SILENCE, reading).await.is_ok() {
            return "closed".to_owned();
        }
        // Where the kernel's queue was full, there is a connection on this side only, and a client
        // learns that when it speaks.
        let _ = stream.write_all(&[0]).await;
    }
    "hangs".to_owned()
}
