//! Client authentication on the webhook port, by certificates of the authorities in a file.
//!
//! ```text
//! [ file, polled ] -> [ ClientAuthorities ] -> each handshake
//! ```
//!
//! Without authorities every client is rejected, as on a replica that could never read its file.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use prometheus_client::metrics::counter::Counter;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use tokio::time::{Instant, sleep};
use x509_parser::extensions::GeneralName;

use crate::{
    log_once::LogOnce,
    server::{
        Shutdown,
        certificates::{
            bundle::Bundle,
            pair::{PairError, provider},
        },
    },
};

/// The authorities that must have issued the certificates of clients. They are replaced while
/// connections are open.
#[derive(Debug, Default)]
pub struct ClientAuthorities {
    verifier: ArcSwapOption<Verifier>,
    /// The names of accepted clients; if empty, every client with a certificate is accepted.
    names: Vec<String>,
}

impl ClientAuthorities {
    /// No authorities yet. With `names`, a certificate must carry one of them, as its subject's common
    /// name or as a DNS name.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        Self {
            verifier: ArcSwapOption::empty(),
            names,
        }
    }

    /// Requires certificates of these authorities from the next handshake on.
    ///
    /// # Errors
    ///
    /// One of them is not a certificate of an authority.
    pub fn replace(&self, authorities: &Bundle) -> Result<(), PairError> {
        let mut roots = RootCertStore::empty();
        for authority in authorities.certificates() {
            roots
                .add(authority.clone())
                .map_err(|_| PairError::Certificate)?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|_| PairError::NoCertificate)?;
        self.verifier
            .store(Some(Arc::new(Verifier(verifier))));
        Ok(())
    }

    /// Reads the authorities from a file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds no authorities in PEM.
    pub async fn load(&self, path: &Path) -> Result<Vec<u8>, ClientAuthorityError> {
        let pem = tokio::fs::read(path)
            .await
            .map_err(|why| ClientAuthorityError::Read {
                path: path.to_owned(),
                why,
            })?;
        Bundle::parse(&pem)
            .and_then(|authorities| self.replace(&authorities))
            .map_err(|why| ClientAuthorityError::Parse {
                path: path.to_owned(),
                why,
            })?;
        Ok(pem)
    }

    /// Follows the contents of the file until the shutdown has finished.
    ///
    /// The file is read every `interval`, since watching a mounted file misses the way Kubernetes swaps
    /// it. An unusable file is logged once, and the last good authorities stay.
    pub async fn follow(self: Arc<Self>, path: PathBuf, interval: Duration, shutdown: Shutdown) {
        let polling = async {
            let mut said = LogOnce::default();
            let mut known = None;
            loop {
                let is_known = known.is_some() && tokio::fs::read(&path).await.ok() == known;
                if !is_known {
                    match self.load(&path).await {
                        Ok(pem) => {
                            said.is_over();
                            tracing::info!(file = %path.display(), "clients must present a certificate issued by an authority in this file");
                            known = Some(pem);
                        }
                        Err(error) => {
                            if said.is_new(&error.to_string()) {
                                tracing::warn!(%error, "the client authorities cannot be reloaded, and the last good ones stay");
                            }
                        }
                    }
                } else if said.is_over() {
                    tracing::info!(file = %path.display(), "the client authorities are valid again");
                }
                sleep(interval).await;
            }
        };
        tokio::select! {
            () = polling => {}
            () = shutdown.finished() => {}
        }
    }
}

/// The reason why client authorities cannot be read from a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientAuthorityError {
    /// The file holds no authorities.
    #[error("`{}` holds no authorities: {why} (hint: --client-ca takes a file with the authority, in PEM, that signed the API server's client certificate)", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The problem with its contents.
        why: PairError,
    },
    /// The file cannot be read.
    #[error("`{}` cannot be read: {why} (hint: --client-ca takes a file with authorities in PEM)", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        why: std::io::Error,
    },
}

impl ClientCertVerifier for ClientAuthorities {
    // Not sent to clients: the authorities may change at any time, and a client presents its certificate
    // anyway.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let current = self.verifier.load();
        let verified = current
            .as_ref()
            .ok_or(CertificateError::UnknownIssuer)?
            .0
            .verify_client_cert(leaf, intermediates, now)?;
        let is_named = self.names.is_empty()
            || names_in(leaf)
                .iter()
                .any(|name| self.names.contains(name));
        if is_named {
            Ok(verified)
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Counts rejected clients, and logs at most one per minute. Clones share the state.
#[derive(Clone, Debug)]
pub(in crate::server) struct Refusals {
    counter: Counter,
    said: Arc<Mutex<Option<Instant>>>,
}

impl Refusals {
    pub(in crate::server) fn new(counter: Counter) -> Self {
        Self {
            counter,
            said: Arc::default(),
        }
    }

    /// Counts a failed handshake if the client's certificate was the reason, or that it had none.
    pub(in crate::server) fn look_at(&self, error: &std::io::Error) {
        let reason = error
            .get_ref()
            .and_then(|error| error.downcast_ref::<rustls::Error>());
        let why = match reason {
            Some(rustls::Error::NoCertificatesPresented) => "it presented none".to_owned(),
            Some(rustls::Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            )) => "it has none of the names of --client-name".to_owned(),
            Some(rustls::Error::InvalidCertificate(why)) => why.to_string(),
            _ => return,
        };
        self.counter.inc();
        let now = Instant::now();
        let mut said = self
            .said
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|said| now.duration_since(said) >= QUIET) {
            *said = Some(now);
            tracing::warn!(
                why,
                "a client of the webhook port was rejected because of its certificate (hint: if it is the API server, see docs/client-authentication.md)"
            );
        }
    }
}

/// The time after a log line in which rejections are only counted.
const QUIET: Duration = Duration::from_secs(60);

/// `ArcSwap` needs a sized type, so the `dyn ClientCertVerifier` is wrapped.
#[derive(Debug)]
struct Verifier(Arc<dyn ClientCertVerifier>);

/// The common names of the subject and the DNS names of a certificate.
fn names_in(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        return Vec::new();
    };
    let common = parsed
        .subject()
        .iter_common_name()
        .filter_map(|name| name.as_str().ok());
    let alternative = parsed
        .subject_alternative_name()
        .ok()
        .flatten();
    let dns = alternative
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(*name),
            _ => None,
        });
    common
        .chain(dns)
        .map(str::to_owned)
        .collect()
}
