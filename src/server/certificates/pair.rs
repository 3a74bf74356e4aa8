//! A certificate and its key, and the reasons why they cannot be served.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    sign::CertifiedKey,
};

/// A certificate chain, leaf first, and the private key that belongs to the leaf.
#[derive(Debug)]
pub struct Pair {
    key: Arc<CertifiedKey>,
    validity: Validity,
}

impl Pair {
    /// Parses both from PEM and checks that they belong together. An expired pair is accepted.
    ///
    /// # Errors
    ///
    /// A part is missing or malformed, or they do not match. Errors never quote the key.
    pub fn load(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, PairError> {
        Self::of(certificates(chain_pem)?, key_pem)
    }

    /// [`Pair::load`] with a chain that was read already.
    pub(super) fn of(
        chain: Vec<CertificateDer<'static>>,
        key_pem: &[u8],
    ) -> Result<Self, PairError> {
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| PairError::Key)?;
        let leaf = chain
            .first()
            .ok_or(PairError::NoCertificate)?;
        let validity = Validity::of(leaf)?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => PairError::Mismatch,
            rustls::Error::InvalidCertificate(_) => PairError::Certificate,
            _ => PairError::Key,
        })?;
        Ok(Self {
            key: Arc::new(key),
            validity,
        })
    }

    /// The time at which the leaf expires.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.validity.not_after
    }

    /// The validity of the leaf.
    #[must_use]
    pub(crate) fn validity(&self) -> Validity {
        self.validity
    }

    /// The pair in the form that rustls takes.
    pub(in crate::server) fn key(&self) -> Arc<CertifiedKey> {
        self.key.clone()
    }

    /// The chain, leaf first, never empty.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    /// Verifies the pair like a client that trusts these authorities at `now`: signatures, validity,
    /// purpose, and each of these names.
    ///
    /// # Errors
    ///
    /// The reason why such a client would refuse, and the name.
    pub fn verify(
        &self,
        authorities_pem: &[u8],
        names: &[String],
        now: Timestamp,
    ) -> Result<(), PairError> {
        self.verify_under(&certificates(authorities_pem)?, names, now)
    }

    /// [`Pair::verify`] with parsed authorities.
    pub(super) fn verify_under(
        &self,
        authorities: &[CertificateDer<'static>],
        names: &[String],
        now: Timestamp,
    ) -> Result<(), PairError> {
        self.validity.check(now)?;
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots
                .add(authority.clone())
                .map_err(|_| PairError::Certificate)?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|_| PairError::NoCertificate)?;
        let (leaf, intermediates) = self
            .chain()
            .split_first()
            .ok_or(PairError::NoCertificate)?;
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            u64::try_from(now.as_second()).unwrap_or_default(),
        ));
        for name in names {
            let refused = |why: String| PairError::Refused {
                name: name.clone(),
                why,
            };
            let server_name =
                ServerName::try_from(name.as_str()).map_err(|error| refused(error.to_string()))?;
            verifier
                .verify_server_cert(leaf, intermediates, &server_name, &[], now)
                .map_err(|error| refused(error.to_string()))?;
        }
        Ok(())
    }
}

/// The validity of a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// The first moment.
    pub not_before: Timestamp,
    /// The last moment.
    pub not_after: Timestamp,
}

impl Validity {
    /// The validity of this certificate.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Result<Self, PairError> {
        let (_, parsed) =
            x509_parser::parse_x509_certificate(certificate).map_err(|_| PairError::Certificate)?;
        // RFC 5280 writes "never" as a time just past the last that a `Timestamp` can hold.
        let time = |seconds, beyond| Timestamp::from_second(seconds).unwrap_or(beyond);
        let validity = parsed.validity();
        Ok(Self {
            not_before: time(validity.not_before.timestamp(), Timestamp::MIN),
            not_after: time(validity.not_after.timestamp(), Timestamp::MAX),
        })
    }

    /// Checks that it is valid at `now`.
    ///
    /// # Errors
    ///
    /// [`PairError::Expired`] or [`PairError::NotYetValid`].
    pub fn check(self, now: Timestamp) -> Result<(), PairError> {
        if now >= self.not_after {
            return Err(PairError::Expired(self.not_after));
        }
        if now < self.not_before {
            return Err(PairError::NotYetValid(self.not_before));
        }
        Ok(())
    }

    /// The time at which this share of the lifetime is over.
    pub(super) fn after(self, parts: i32, of: i32) -> Timestamp {
        self.not_before
            .checked_add(self.life() * parts / of)
            .unwrap_or(Timestamp::MAX)
    }

    /// The span, or this fraction of the lifetime if that is shorter.
    pub(in crate::server) fn share(self, span: SignedDuration, of: i32) -> SignedDuration {
        span.min(self.life() / of)
    }

    fn life(self) -> SignedDuration {
        self.not_after
            .duration_since(self.not_before)
    }
}

/// The reason why a certificate and key cannot be served.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// The certificate is malformed. Its writer is at fault.
    #[error("the certificate is malformed")]
    Certificate,
    /// The certificate has expired.
    #[error("the certificate expired at {0} (hint: its issuer has to renew it)")]
    Expired(Timestamp),
    /// The private key is missing, malformed or of an unsupported kind.
    #[error("the private key is missing or malformed")]
    Key,
    /// Both are well-formed, but are not a pair.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
    /// The PEM holds no certificate.
    #[error("there is no certificate")]
    NoCertificate,
    /// The certificate is not valid yet.
    #[error(
        "the certificate is not valid before {0} (hint: compare the clocks of this node and of the issuer)"
    )]
    NotYetValid(Timestamp),
    /// Clients would reject the certificate.
    #[error("clients would refuse the certificate for `{name}`: {why}")]
    Refused {
        /// The requested name.
        name: String,
        /// The verifier's message.
        why: String,
    },
}

/// The crypto provider, passed explicitly: a process-wide default would depend on the order of
/// installation.
pub(in crate::server) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PairError> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| PairError::Certificate)?;
    if found.is_empty() {
        return Err(PairError::NoCertificate);
    }
    Ok(found)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::server::certificates::issue::CertificateAuthority;

    pub(crate) const HOUR: Duration = Duration::from_secs(3600);

    /// The names that certificates of tests carry.
    pub(crate) fn names() -> Vec<String> {
        vec!["webhook.test".to_owned(), "127.0.0.1".to_owned()]
    }

    #[test]
    fn an_issued_pair_loads_and_says_when_it_ends() {
        let now = Timestamp::now();
        let leaf = CertificateAuthority::new(HOUR * 2, now)
            .unwrap()
            .issue(&names(), HOUR, now)
            .unwrap();
        let pair = Pair::load(leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes()).unwrap();
        assert_eq!(pair.not_after().as_second(), (now + HOUR).as_second());
    }

    #[test]
    fn names_what_is_wrong_with_a_pair() {
        let now = Timestamp::now();
        let authority = CertificateAuthority::new(HOUR, now).unwrap();
        let [one, other] = [0, 1].map(|_| {
            authority
                .issue(&names(), HOUR, now)
                .unwrap()
        });
        for (chain, key, expected) in [
            ("", one.key_pem.as_str(), PairError::NoCertificate),
            (
                "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
                &one.key_pem,
                PairError::Certificate,
            ),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                &one.key_pem,
                PairError::Certificate,
            ),
            (&one.chain_pem, "", PairError::Key),
            (&one.chain_pem, &one.chain_pem, PairError::Key),
            (&one.chain_pem, &other.key_pem, PairError::Mismatch),
        ] {
            let error = Pair::load(chain.as_bytes(), key.as_bytes()).unwrap_err();
            assert_eq!(error, expected, "{chain}");
        }
    }

    #[test]
    fn verifies_as_a_client_would() {
        let now = Timestamp::now();
        let [authority, stranger] =
            [0, 1].map(|_| CertificateAuthority::new(HOUR * 2, now).unwrap());
        let leaf = authority
            .issue(&names(), HOUR, now)
            .unwrap();
        let pair = Pair::load(leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes()).unwrap();
        let trusted = authority.certificate_pem().as_bytes();

        assert_eq!(pair.verify(trusted, &names(), now), Ok(()));
        // A skewed clock: the certificate is dated back.
        assert_eq!(
            pair.verify(trusted, &names(), now - Duration::from_secs(240)),
            Ok(())
        );
        for (authorities, name, when) in [
            (trusted, "other.test", now),
            (trusted, "127.0.0.2", now),
            (stranger.certificate_pem().as_bytes(), "webhook.test", now),
        ] {
            let error = pair
                .verify(authorities, &[name.to_owned()], when)
                .unwrap_err();
            assert!(
                matches!(error, PairError::Refused { .. }),
                "{name}: {error}"
            );
        }
        for (when, why) in [
            (now + HOUR * 3 / 2, "the certificate expired at "),
            (now - HOUR, "the certificate is not valid before "),
        ] {
            let error = pair
                .verify(trusted, &names(), when)
                .unwrap_err();
            assert!(error.to_string().starts_with(why), "{error}");
        }
    }
}
