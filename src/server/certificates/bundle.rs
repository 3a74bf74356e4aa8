//! A list of certificates, as in `ca.crt` and in a caBundle.

use std::fmt::Write as _;

use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::pki_types::CertificateDer;

use super::pair::{PairError, certificates};

/// The subject of every authority that a manager issues, by which it is recognized.
pub(super) const AUTHORITY_NAME: &str = "agentkube webhook authority";

/// An ordered list of certificates without duplicates.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Bundle(Vec<CertificateDer<'static>>);

impl Bundle {
    /// Parses PEM with at least one certificate.
    ///
    /// # Errors
    ///
    /// There is no certificate, or one is malformed.
    pub fn parse(pem: &[u8]) -> Result<Self, PairError> {
        Ok(certificates(pem)?.into_iter().collect())
    }

    /// A bundle of one certificate.
    #[must_use]
    pub fn of(certificate: CertificateDer<'static>) -> Self {
        Self(vec![certificate])
    }

    /// The bundle as PEM; blank if it is empty.
    #[must_use]
    pub fn pem(&self) -> String {
        let mut pem = String::new();
        for certificate in &self.0 {
            pem.push_str("-----BEGIN CERTIFICATE-----\n");
            let text = BASE64_STANDARD.encode(certificate);
            for line in text.as_bytes().chunks(LINE) {
                // Writing into a `String` cannot fail.
                let _ = writeln!(pem, "{}", String::from_utf8_lossy(line));
            }
            pem.push_str("-----END CERTIFICATE-----\n");
        }
        pem
    }

    /// The certificates, in their order.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }

    /// True if the bundle contains the certificate.
    #[must_use]
    pub fn contains(&self, certificate: &CertificateDer<'_>) -> bool {
        self.0
            .iter()
            .any(|one| one == certificate)
    }

    /// True if the bundle contains all of the others.
    #[must_use]
    pub(crate) fn contains_all(&self, others: &Self) -> bool {
        others
            .0
            .iter()
            .all(|other| self.contains(other))
    }

    /// Appends a certificate, unless it is there.
    pub fn add(&mut self, certificate: CertificateDer<'static>) {
        if !self.contains(&certificate) {
            self.0.push(certificate);
        }
    }
}

impl FromIterator<CertificateDer<'static>> for Bundle {
    fn from_iter<I: IntoIterator<Item = CertificateDer<'static>>>(certificates: I) -> Self {
        let mut bundle = Self::default();
        for certificate in certificates {
            bundle.add(certificate);
        }
        bundle
    }
}

/// True if a manager issued the authority for itself.
pub(super) fn is_ours(certificate: &CertificateDer<'_>) -> bool {
    x509_parser::parse_x509_certificate(certificate).is_ok_and(|(_, parsed)| {
        let mut names = parsed.subject().iter_common_name();
        names.any(|name| name.as_str() == Ok(AUTHORITY_NAME))
    })
}

/// The length of a line of PEM (RFC 7468).
const LINE: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::server::certificates::issue::CertificateAuthority;

    fn authority() -> CertificateAuthority {
        CertificateAuthority::new(Duration::from_secs(3600), Timestamp::now()).unwrap()
    }

    #[test]
    fn is_written_as_it_was_read_and_holds_nothing_twice() {
        let [one, other] = [0, 1].map(|_| authority());
        let both = format!("{}{}", one.certificate_pem(), other.certificate_pem());
        let twice = format!("{both}{}", one.certificate_pem());
        let bundle = Bundle::parse(twice.as_bytes()).unwrap();
        assert_eq!(bundle.pem(), both);
        assert!(bundle.contains_all(&Bundle::of(other.certificate().clone())));
        assert!(!Bundle::of(one.certificate().clone()).contains_all(&bundle));
    }

    #[test]
    fn our_own_authorities_are_known_again() {
        let authority = authority();
        let leaf = authority
            .issue(
                &["a.test".to_owned()],
                Duration::from_secs(60),
                Timestamp::now(),
            )
            .unwrap();
        assert!(is_ours(authority.certificate()));
        let leaf = Bundle::parse(leaf.chain_pem.as_bytes()).unwrap();
        assert!(!is_ours(&leaf.certificates()[0]));
    }
}
