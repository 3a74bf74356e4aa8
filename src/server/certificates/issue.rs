//! The manager's own certificate authority, and serving certificates signed by it.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::pki_types::CertificateDer;

use super::{
    bundle::{AUTHORITY_NAME, Bundle},
    pair::{Pair, PairError, certificates},
};

/// The lifetimes of issued certificates, counted from the time of issue.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    authority: Duration,
    serving: Duration,
}

impl Lifetimes {
    /// The shortest lifetime of a certificate. Below it, a renewal could not reach every replica and API
    /// server in time.
    pub(crate) const SHORTEST: Duration = Duration::from_secs(10);

    /// The lifetimes of the authority and of the serving certificate.
    ///
    /// # Errors
    ///
    /// A lifetime is too short, or the authority would expire before a certificate of it.
    pub fn new(authority: Duration, serving: Duration) -> Result<Self, IssueError> {
        if serving < Self::SHORTEST {
            return Err(IssueError::TooShort(serving));
        }
        if authority < serving {
            return Err(IssueError::Outlived { authority, serving });
        }
        Ok(Self { authority, serving })
    }

    /// The lifetime of the authority; 10 years by default.
    #[must_use]
    pub fn authority(self) -> Duration {
        self.authority
    }

    /// The lifetime of the serving certificate; one year by default.
    #[must_use]
    pub fn serving(self) -> Duration {
        self.serving
    }

    /// The time for which a new authority must be in both registrations before a certificate of it is
    /// served.
    ///
    /// An API server usually learns of a registration within a second. There may be several, and waiting
    /// costs nothing; only short lifetimes, as in tests, leave no time for it.
    #[must_use]
    pub(crate) fn overlap(self) -> Duration {
        (self.authority / 20).min(Duration::from_secs(30))
    }
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            authority: DAY * 3650,
            serving: DAY * 365,
        }
    }
}

/// A certificate authority with its private key (ECDSA on P-256).
pub struct CertificateAuthority {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
    key_pem: String,
    not_after: Timestamp,
}

impl CertificateAuthority {
    /// A new authority, valid from shortly before `now`.
    ///
    /// # Errors
    ///
    /// No key can be generated, or the lifetime ends after the year 9999.
    pub fn new(lifetime: Duration, now: Timestamp) -> Result<Self, IssueError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(AUTHORITY_NAME);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let not_after = set_validity(&mut params, now, after(now, lifetime)?);
        let certificate = params.self_signed(&key)?;
        let key_pem = key.serialize_pem();
        Ok(Self {
            certificate_pem: certificate.pem(),
            certificate: certificate.into(),
            issuer: Issuer::new(params, key),
            key_pem,
            not_after,
        })
    }

    /// A stored authority: the certificate of a bundle to which the key belongs, at any position.
    ///
    /// # Errors
    ///
    /// A certificate or the key is malformed, the key belongs to none of them, or the certificate may
    /// not sign others or is not valid at `now`.
    pub fn from_pem(bundle_pem: &[u8], key_pem: &[u8], now: Timestamp) -> Result<Self, IssueError> {
        let bundle = Bundle::parse(bundle_pem).map_err(unusable)?;
        Self::from_bundle(&bundle, key_pem, now)
    }

    /// [`CertificateAuthority::from_pem`] with a parsed bundle.
    pub(super) fn from_bundle(
        bundle: &Bundle,
        key_pem: &[u8],
        now: Timestamp,
    ) -> Result<Self, IssueError> {
        let mut outcome = Err(PairError::NoCertificate);
        for certificate in bundle.certificates() {
            outcome = Pair::of(vec![certificate.clone()], key_pem).map(|pair| (certificate, pair));
            if outcome.is_ok() {
                break;
            }
        }
        let (certificate, pair) = outcome.map_err(unusable)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(unusable)?;
        if !parsed.is_ca() {
            return Err(unusable("it is not an authority's certificate"));
        }
        pair.validity()
            .check(now)
            .map_err(unusable)?;
        let key_pem = std::str::from_utf8(key_pem).map_err(unusable)?;
        let issuer = Issuer::from_ca_cert_der(certificate, KeyPair::from_pem(key_pem)?)?;
        Ok(Self {
            certificate_pem: Bundle::of(certificate.clone()).pem(),
            certificate: certificate.clone(),
            issuer,
            key_pem: key_pem.to_owned(),
            not_after: pair.not_after(),
        })
    }

    /// The certificate that clients have to trust.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The certificate that clients have to trust, as PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key as PEM.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The time at which the authority expires.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Issues a serving certificate for these names (DNS names or IP addresses), with a new key.
    ///
    /// The certificate does not outlive the authority.
    ///
    /// # Errors
    ///
    /// A name is not allowed in a certificate, no key can be generated, or the lifetime ends after the
    /// year 9999.
    pub fn issue(
        &self,
        names: &[String],
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Leaf, IssueError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(names)?;
        // The names are in the extension: the subject is limited to 64 characters.
        params.distinguished_name = common_name("agentkube webhook");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Distinguishes the old and the new authority, which have the same name.
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now, after(now, lifetime)?.min(self.not_after));
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Leaf {
            chain_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// A serving certificate and its private key, as PEM.
pub struct Leaf {
    /// The certificate.
    pub chain_pem: String,
    /// The private key (PKCS #8).
    pub key_pem: String,
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf")
            .field("chain_pem", &self.chain_pem)
            .finish_non_exhaustive()
    }
}

/// The reason why nothing was issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The lifetime ends after the year 9999. The setting is at fault.
    #[error("a lifetime of {} days is too long for a certificate", .0.as_secs() / DAY.as_secs())]
    Lifetime(Duration),
    /// The library refused, as for a name that is not ASCII.
    #[error("a certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// The authority expires before the certificates that it signs. The settings are at fault.
    #[error(
        "an authority with a lifetime of {} s would expire before its certificates, which live {} s (hint: set --authority-lifetime to several times --certificate-lifetime)",
        authority.as_secs(), serving.as_secs()
    )]
    Outlived {
        /// The authority's lifetime.
        authority: Duration,
        /// The serving certificate's lifetime.
        serving: Duration,
    },
    /// The lifetime is too short for a renewal. The setting is at fault.
    #[error(
        "a certificate with a lifetime of {} s cannot be renewed in time (hint: set --certificate-lifetime to at least {} s)",
        .0.as_secs(), Lifetimes::SHORTEST.as_secs()
    )]
    TooShort(Duration),
    /// A stored authority cannot be used.
    #[error("the authority cannot be used: {0}")]
    Unusable(String),
}

/// The DNS names under which the API server reaches a Service.
#[must_use]
pub fn service_names(service: &str, namespace: &str) -> Vec<String> {
    let name = format!("{service}.{namespace}");
    vec![
        format!("{name}.svc"),
        format!("{name}.svc.cluster.local"),
        name,
    ]
}

/// The names in a certificate's extension; empty if there is none or it cannot be read.
#[must_use]
pub(crate) fn names_in(chain_pem: &[u8]) -> Vec<String> {
    let Ok(chain) = certificates(chain_pem) else {
        return Vec::new();
    };
    let parsed = chain
        .first()
        .and_then(|leaf| x509_parser::parse_x509_certificate(leaf).ok());
    let Some((_, parsed)) = parsed else {
        return Vec::new();
    };
    let Ok(Some(extension)) = parsed.subject_alternative_name() else {
        return Vec::new();
    };
    extension
        .value
        .general_names
        .iter()
        .filter_map(name)
        .collect()
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Certificates are backdated, since the clocks of a cluster differ a little and a certificate from the
/// future is rejected. Short lifetimes are backdated by a tenth.
const SKEW: Duration = Duration::from_secs(5 * 60);

fn unusable(why: impl fmt::Display) -> IssueError {
    IssueError::Unusable(why.to_string())
}

fn name(name: &x509_parser::extensions::GeneralName<'_>) -> Option<String> {
    match name {
        x509_parser::extensions::GeneralName::DNSName(name) => Some((*name).to_owned()),
        x509_parser::extensions::GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
            bytes => {
                let octets = <[u8; 16]>::try_from(bytes).ok()?;
                Some(std::net::Ipv6Addr::from(octets).to_string())
            }
        },
        _ => None,
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn after(now: Timestamp, lifetime: Duration) -> Result<Timestamp, IssueError> {
    now.checked_add(lifetime)
        .map_err(|_| IssueError::Lifetime(lifetime))
}

/// Sets the validity and returns its end.
fn set_validity(params: &mut CertificateParams, now: Timestamp, until: Timestamp) -> Timestamp {
    // Both fit: a `Timestamp` ends with the year 9999, like the time of a certificate.
    let since_epoch =
        |time: Timestamp| Duration::from_secs(u64::try_from(time.as_second()).unwrap_or_default());
    let epoch = date_time_ymd(1970, 1, 1);
    let life = since_epoch(until).saturating_sub(since_epoch(now));
    params.not_before = epoch + since_epoch(now).saturating_sub(SKEW.min(life / 10));
    params.not_after = epoch + since_epoch(until);
    until
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn an_authority_survives_being_written_down() {
        let now = Timestamp::now();
        let authority = CertificateAuthority::new(HOUR, now).unwrap();
        let read = CertificateAuthority::from_pem(
            authority.certificate_pem().as_bytes(),
            authority.key_pem().as_bytes(),
            now,
        )
        .unwrap();

        let names = service_names("agentkube-manager", "agentkube-system");
        let leaf = read.issue(&names, HOUR, now).unwrap();

        let pair = Pair::load(leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes()).unwrap();
        assert_eq!(
            pair.verify(authority.certificate_pem().as_bytes(), &names, now),
            Ok(())
        );
    }

    #[test]
    fn a_leaf_does_not_outlive_its_authority() {
        let now = Timestamp::now();
        let authority = CertificateAuthority::new(HOUR, now).unwrap();
        let leaf = authority
            .issue(&["a.test".to_owned()], HOUR * 9, now)
            .unwrap();
        let pair = Pair::load(leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes()).unwrap();
        assert_eq!(
            pair.not_after().as_second(),
            authority.not_after().as_second()
        );
    }

    #[test]
    fn an_unusable_authority_is_refused() {
        let now = Timestamp::now();
        let [authority, other] = [0, 1].map(|_| CertificateAuthority::new(HOUR, now).unwrap());
        let leaf = authority
            .issue(&["a.test".to_owned()], HOUR, now)
            .unwrap();
        for (bundle, key, when, why) in [
            (
                authority.certificate_pem(),
                other.key_pem(),
                now,
                "does not belong",
            ),
            (&leaf.chain_pem, &leaf.key_pem, now, "not an authority"),
            (
                authority.certificate_pem(),
                authority.key_pem(),
                now + HOUR * 2,
                "expired",
            ),
            (
                authority.certificate_pem(),
                authority.key_pem(),
                now - HOUR,
                "not valid before",
            ),
            ("", authority.key_pem(), now, "no certificate"),
            (authority.certificate_pem(), "", now, "key is missing"),
        ] {
            let error = CertificateAuthority::from_pem(bundle.as_bytes(), key.as_bytes(), when)
                .unwrap_err()
                .to_string();
            assert!(error.contains(why), "{error} does not say {why}");
        }
    }

    #[test]
    fn the_names_of_a_leaf_can_be_read_back() {
        let now = Timestamp::now();
        let names = ["a.test", "127.0.0.1", "::1"].map(str::to_owned);
        let leaf = CertificateAuthority::new(HOUR, now)
            .unwrap()
            .issue(&names, HOUR, now)
            .unwrap();
        assert_eq!(names_in(leaf.chain_pem.as_bytes()), names);
        assert_eq!(names_in(b"nothing"), Vec::<String>::new());
    }

    #[test]
    fn a_lifetime_beyond_the_calendar_is_refused() {
        let error = CertificateAuthority::new(DAY * 365 * 9000, Timestamp::now()).unwrap_err();
        insta::assert_snapshot!(error, @"a lifetime of 3285000 days is too long for a certificate");
    }

    #[test]
    fn keys_are_not_printed() {
        let now = Timestamp::now();
        let authority = CertificateAuthority::new(HOUR, now).unwrap();
        let leaf = authority
            .issue(&["a.test".to_owned()], HOUR, now)
            .unwrap();
        let printed = format!("{authority:?}{leaf:?}");
        assert!(!printed.contains("PRIVATE KEY"), "{printed}");
    }
}
