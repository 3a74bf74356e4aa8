//! The served certificate, which is swapped without restarting a listener.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::{SignedDuration, Timestamp};
use rustls::{
    ServerConfig,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::{
    server::{
        callers::client_auth::ClientAuthorities,
        certificates::pair::{Pair, provider},
        probes::CheckResult,
    },
    telemetry::CertificateExpiry,
};

/// The pair for new handshakes. It is replaced while connections are open.
///
/// Empty until the first pair arrives: handshakes fail until then, and so does
/// [`ServingCertificate::check`].
#[derive(Debug, Default)]
pub struct ServingCertificate {
    pair: ArcSwapOption<Pair>,
    expiry: CertificateExpiry,
}

impl ServingCertificate {
    /// No pair yet; the gauge follows the served pair.
    #[must_use]
    pub fn new(expiry: CertificateExpiry) -> Self {
        Self {
            pair: ArcSwapOption::empty(),
            expiry,
        }
    }

    /// Serves this pair from the next handshake on.
    pub fn replace(&self, pair: Arc<Pair>) {
        self.expiry.set(pair.not_after());
        self.pair.store(Some(pair));
    }

    /// The served pair.
    #[must_use]
    pub fn pair(&self) -> Option<Arc<Pair>> {
        self.pair.load_full()
    }

    /// The time at which the served pair expires.
    #[must_use]
    pub fn not_after(&self) -> Option<Timestamp> {
        self.pair
            .load()
            .as_ref()
            .map(|pair| pair.not_after())
    }

    /// Readiness check: a pair is there, is valid at `now`, and stays valid until no client calls an
    /// unready replica any more.
    ///
    /// # Errors
    ///
    /// The condition that does not hold.
    pub fn check(&self, now: Timestamp) -> CheckResult {
        let pair = self.pair.load();
        let Some(pair) = pair.as_ref() else {
            return Err("waiting for a serving certificate".into());
        };
        let validity = pair.validity();
        validity
            .check(now)
            .map_err(|error| format!("the serving certificate cannot be used: {error}"))?;
        if validity
            .check(now + validity.share(NOTICE, 10))
            .is_err()
        {
            let not_after = pair.not_after();
            return Err(format!("the serving certificate expires at {not_after}").into());
        }
        Ok(())
    }
}

impl ResolvesServerCert for ServingCertificate {
    // There is one certificate for all names: the API server may call us at an IP address and then sends
    // no name.
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.pair
            .load()
            .as_ref()
            .map(|pair| pair.key())
    }
}

/// The time before its expiry at which a certificate is no longer ready: three probes of the kubelet,
/// and the propagation to every node.
const NOTICE: SignedDuration = SignedDuration::from_secs(30);

/// TLS 1.2 and 1.3, HTTP/1.1 only, with the current certificate at each handshake. With `clients`,
/// clients without a certificate of these authorities are rejected.
///
/// # Errors
///
/// The crypto provider does not support these versions, which the build rules out.
pub fn server_config(
    certificate: Arc<ServingCertificate>,
    clients: Option<Arc<ClientAuthorities>>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let resumes = clients.is_none();
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if !resumes {
        // A resumed session would not present its certificate again, even if the authority was replaced.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::server::certificates::{
        issue::CertificateAuthority,
        pair::tests::{HOUR, names},
    };

    #[test]
    fn readiness_follows_the_pair() {
        let now = Timestamp::now();
        let serving = ServingCertificate::default();
        insta::assert_snapshot!(serving.check(now).unwrap_err(), @"waiting for a serving certificate");

        let leaf = CertificateAuthority::new(HOUR, now)
            .unwrap()
            .issue(&names(), HOUR, now)
            .unwrap();
        let pair = Pair::load(leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes()).unwrap();
        serving.replace(Arc::new(pair));
        assert_eq!(serving.check(now), Ok(()));
        for (when, why) in [
            (
                now - HOUR,
                "the serving certificate cannot be used: the certificate is not valid before ",
            ),
            // Before it has expired: whoever sends requests here needs a moment to be told.
            (
                now + HOUR - Duration::from_secs(20),
                "the serving certificate expires at ",
            ),
            (
                now + HOUR * 2,
                "the serving certificate cannot be used: the certificate expired at ",
            ),
        ] {
            let error = serving.check(when).unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
    }
}
