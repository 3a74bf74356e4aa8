//! Who may speak to the webhook port: whoever holds a certificate of an authority in a file.
//!
//! ```text
//! [ file, polled ] -> [ ClientAuthorities ] -> each handshake
//! ```
//!
//! Without authorities nobody may: a replica whose file was never read refuses everybody.

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

/// The authorities whose certificates clients have to show, replaced while connections are open
#[derive(Debug, Default)]
pub struct ClientAuthorities {
    verifier: ArcSwapOption<Verifier>,
    /// Who may come, of those that hold a certificate; everybody of them if there is none
    names: Vec<String>,
}

impl ClientAuthorities {
    /// None yet. With `names`, a certificate has to carry one of them, as its subject's common name
    /// or as a DNS name.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        Self {
            verifier: ArcSwapOption::empty(),
            names,
        }
    }

    /// Asks for certificates of these from the next handshake on
    ///
    /// # Errors
    ///
    /// When one of them is no certificate of an authority.
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

    /// Reads the authorities from a file
    ///
    /// # Errors
    ///
    /// When it cannot be read, or holds no authorities in PEM.
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

    /// Follows the contents of the file until the shutdown has finished
    ///
    /// Read every `interval`, because watching a mounted file misses how Kubernetes swaps it. What
    /// cannot be used is said once, and the last good authorities stay.
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
                            tracing::info!(file = %path.display(), "clients have to show a certificate of the authorities in this file");
                            known = Some(pem);
                        }
                        Err(error) => {
                            if said.is_new(&error.to_string()) {
                                tracing::warn!(%error, "the last good authorities of clients stay");
                            }
                        }
                    }
                } else if said.is_over() {
                    tracing::info!(file = %path.display(), "the authorities of clients are in order again");
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

/// Why the authorities of clients are not taken from a file
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientAuthorityError {
    /// It holds something else
    #[error("`{}` holds no authorities: {why} (hint: --client-ca takes a file with the authority, in PEM, that signed the API server's client certificate)", path.display())]
    Parse {
        /// The file
        path: PathBuf,
        /// What is wrong with it
        why: PairError,
    },
    /// It cannot be read
    #[error("`{}` cannot be read: {why} (hint: --client-ca takes a file with authorities in PEM)", path.display())]
    Read {
        /// The file
        path: PathBuf,
        /// The system's own words
        why: std::io::Error,
    },
}

impl ClientCertVerifier for ClientAuthorities {
    // Not told to clients: they may change at any time, and a client that has a certificate shows
    // it all the same.
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

/// Counts clients that were turned away, and logs one a minute at most; clones are the same
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

    /// Counts a failed handshake if the client's certificate, or that it had none, was the reason
    pub(in crate::server) fn look_at(&self, error: &std::io::Error) {
        let reason = error
            .get_ref()
            .and_then(|error| error.downcast_ref::<rustls::Error>());
        let why = match reason {
            Some(rustls::Error::NoCertificatesPresented) => "it showed none".to_owned(),
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
                "a client of the webhook port was refused for its certificate (hint: if it is the API server, see docs/client-authentication.md)"
            );
        }
    }
}

/// How long refusals are only counted after one was said
const QUIET: Duration = Duration::from_secs(60);

/// `ArcSwap` needs a sized type, so the `dyn ClientCertVerifier` is wrapped
#[derive(Debug)]
struct Verifier(Arc<dyn ClientCertVerifier>);

/// The common names of the subject and the DNS names of a certificate
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
