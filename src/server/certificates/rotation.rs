//! The rotation of certificates: the time and the steps, derived only from the contents of the Secret.
//!
//! ```text
//! steady:    ca.crt = [A]     ca.key = A                     tls.crt by A
//! announced: ca.crt = [A, B]  ca.key = A   ca-next.key = B   tls.crt by A
//! switched:  ca.crt = [B, A]  ca.key = B                     tls.crt by B   tls-retired.crt by A
//! steady:    ca.crt = [B]     ca.key = B                     tls.crt by B
//! ```
//!
//! A serving certificate is renewed after two thirds of its lifetime, under the same authority. So is
//! the authority, in the steps above, each of which any replica can take:
//!
//! - *announced* at two thirds of the authority's life. From there on `ca.crt`, and with it
//!   caBundle, holds both.
//! - *switched* when a replica has seen the new one in both registrations for
//!   [`Lifetimes::overlap`], so that every API server has had the time to see it, too.
//! - the old one leaves when no certificate that it signed is valid any more. A replica that is cut
//!   off from the API server keeps serving what it has, and the API server may still call it: only
//!   once that certificate has expired is it certain that nobody serves it. Waiting costs nothing,
//!   because the old key is gone from the Secret since the switch. For the same reason every
//!   certificate that was replaced is kept in `tls-retired.crt`, without its key, until it expires.
//!
//! If the key of a pair's authority is missing, another program put the pair into the Secret. It has
//! nine tenths of the lifetime to renew it.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::ByteString;
use rustls::pki_types::CertificateDer;

use super::{
    bundle::{Bundle, is_ours},
    issue::{CertificateAuthority, IssueError, Lifetimes, names_in},
    pair::{Pair, PairError, Validity},
};

/// The type of a Secret's data.
pub(super) type Data = BTreeMap<String, ByteString>;

/// Valid data of a Secret.
pub(super) struct Contents {
    pub(super) pair: Arc<Pair>,
    /// The authority that signed the pair.
    pub(super) issuer: CertificateDer<'static>,
    /// The authorities in `ca.crt`.
    pub(super) bundle: Bundle,
    /// The signing authority, if its key is there and it is valid.
    signer: Option<CertificateAuthority>,
    /// The announced authority.
    next: Option<CertificateAuthority>,
    retired: Bundle,
    data: Data,
}

/// The next step for a valid Secret.
pub(super) enum Step {
    /// Nothing to do before this time.
    Wait(Timestamp),
    /// The Secret must be replaced with this data.
    Write {
        data: Data,
        /// The message for the log.
        what: &'static str,
    },
}

impl Contents {
    /// Verifies the certificate like the API server, for every name that it may use.
    ///
    /// The authority's key is not required: it is needed to issue, not to serve.
    pub(super) fn examine(
        data: &Data,
        names: &[String],
        now: Timestamp,
    ) -> Result<Self, PairError> {
        let pair = Pair::load(field(data, "tls.crt"), field(data, "tls.key"))?;
        let bundle = Bundle::parse(field(data, "ca.crt"))?;
        pair.verify_under(bundle.certificates(), names, now)?;
        let accepts = |authority: &&CertificateDer<'static>| {
            pair.verify_under(std::slice::from_ref(*authority), names, now)
                .is_ok()
        };
        let issuer = bundle
            .certificates()
            .iter()
            .find(accepts)
            .ok_or(PairError::NoCertificate)?
            .clone();
        let stored = StoredAuthorities::read(data, &bundle, now);
        Ok(Self {
            pair: Arc::new(pair),
            issuer,
            bundle,
            signer: stored.signer,
            next: stored.next,
            retired: stored.retired,
            data: data.clone(),
        })
    }

    /// The announced authority.
    pub(super) fn announced(&self) -> Option<&CertificateDer<'static>> {
        self.next
            .as_ref()
            .map(CertificateAuthority::certificate)
    }

    /// True if both have the same pair and the same authorities.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.pair.chain() == other.pair.chain() && self.bundle == other.bundle
    }

    /// The step that is due at `now`. `is_trusted` is true for an authority that the API server has
    /// known for long enough.
    pub(super) fn step(
        &self,
        lifetimes: Lifetimes,
        names: &[String],
        is_trusted: impl Fn(&CertificateDer<'_>) -> bool,
        now: Timestamp,
    ) -> Result<Step, IssueError> {
        if let Some(next) = &self.next
            && is_trusted(next.certificate())
        {
            let leaf = next.issue(&self.leaf_names(names), lifetimes.serving(), now)?;
            let mut data = self.replaced(leaf.chain_pem, leaf.key_pem, now);
            let bundle = std::iter::once(next.certificate())
                .chain(self.bundle.certificates())
                .cloned()
                .collect::<Bundle>();
            put(&mut data, "ca.crt", bundle.pem());
            put(&mut data, "ca.key", next.key_pem());
            data.remove("ca-next.key");
            let what = "the new authority signs from now on";
            return Ok(Step::Write { data, what });
        }
        let authority_due = self.authority_due();
        if self.next.is_none() && authority_due <= now {
            let next = CertificateAuthority::new(lifetimes.authority(), now)?;
            let mut bundle = self.bundle.clone();
            bundle.add(next.certificate().clone());
            let mut data = self.data.clone();
            put(&mut data, "ca.crt", bundle.pem());
            put(&mut data, "ca-next.key", next.key_pem());
            let what = "a new authority was announced";
            return Ok(Step::Write { data, what });
        }
        let leaf_due = self.leaf_due();
        if let Some(signer) = &self.signer
            && leaf_due <= now
        {
            let leaf = signer.issue(&self.leaf_names(names), lifetimes.serving(), now)?;
            let data = self.replaced(leaf.chain_pem, leaf.key_pem, now);
            let what = "the certificate was renewed";
            return Ok(Step::Write { data, what });
        }
        let needed = self.needed(now);
        if needed != self.bundle {
            let mut data = self.data.clone();
            put(&mut data, "ca.crt", needed.pem());
            let what = "an authority that is no longer needed was removed";
            return Ok(Step::Write { data, what });
        }
        let ends = self
            .retired
            .certificates()
            .iter()
            .chain(self.bundle.certificates())
            .filter_map(|certificate| {
                Some(
                    Validity::of(certificate)
                        .ok()?
                        .not_after,
                )
            });
        let due = [authority_due, leaf_due]
            .into_iter()
            .chain(ends)
            .filter(|due| *due > now)
            .min();
        Ok(Step::Wait(due.unwrap_or(Timestamp::MAX)))
    }

    /// The time at which a new authority has to be announced.
    fn authority_due(&self) -> Timestamp {
        match &self.signer {
            Some(signer) => Validity::of(signer.certificate())
                .map_or(Timestamp::MIN, |validity| validity.after(2, 3)),
            None => self.pair.validity().after(9, 10),
        }
    }

    /// The time at which the certificate has to be renewed, if that gains time: a certificate that
    /// expires with its authority would be renewed again and again.
    fn leaf_due(&self) -> Timestamp {
        let Some(signer) = &self.signer else {
            return Timestamp::MAX;
        };
        if signer.not_after() <= self.pair.not_after() {
            return Timestamp::MAX;
        }
        self.pair.validity().after(2, 3)
    }

    /// Our names and the other names of the certificate. Otherwise two releases with different names
    /// would take turns forever.
    fn leaf_names(&self, names: &[String]) -> Vec<String> {
        all_names(names, field(&self.data, "tls.crt"))
    }

    /// The data with a new pair, and with the old certificate among the retired ones.
    fn replaced(&self, chain_pem: String, key_pem: String, now: Timestamp) -> Data {
        let mut data = self.data.clone();
        let retired: Bundle = self
            .pair
            .chain()
            .iter()
            .take(1)
            .chain(self.retired.certificates())
            .filter(|leaf| is_valid(leaf, now))
            .take(MOST_RETIRED)
            .cloned()
            .collect();
        put(&mut data, "tls-retired.crt", retired.pem());
        put(&mut data, "tls.crt", chain_pem);
        put(&mut data, "tls.key", key_pem);
        data
    }

    /// The authorities, without our own ones that no valid certificate depends on.
    fn needed(&self, now: Timestamp) -> Bundle {
        let is = |authority: &Option<CertificateAuthority>, certificate: &CertificateDer<'_>| {
            authority
                .as_ref()
                .is_some_and(|authority| authority.certificate() == certificate)
        };
        self.bundle
            .certificates()
            .iter()
            .filter(|certificate| {
                **certificate == self.issuer
                    || is(&self.signer, certificate)
                    || is(&self.next, certificate)
                    || !is_ours(certificate)
                    || (is_valid(certificate, now) && self.has_signed(certificate, now))
            })
            .cloned()
            .collect()
    }

    fn has_signed(&self, authority: &CertificateDer<'_>, now: Timestamp) -> bool {
        self.retired
            .certificates()
            .iter()
            .any(|leaf| is_valid(leaf, now) && is_signed_by(leaf, authority))
    }
}

/// New data under an authority, for a missing Secret.
pub(super) fn fresh(
    lifetimes: Lifetimes,
    names: &[String],
    now: Timestamp,
) -> Result<Data, IssueError> {
    let authority = CertificateAuthority::new(lifetimes.authority(), now)?;
    let leaf = authority.issue(names, lifetimes.serving(), now)?;
    let mut data = Data::new();
    put(&mut data, "ca.crt", authority.certificate_pem());
    put(&mut data, "ca.key", authority.key_pem());
    put(&mut data, "tls.crt", leaf.chain_pem);
    put(&mut data, "tls.key", leaf.key_pem);
    Ok(data)
}

/// Repairs invalid data with a certificate of the existing authority, else of the announced one, else of
/// the last good one, else of a new one. Other keys stay.
pub(super) fn repaired(
    old: &Data,
    last_good: Option<&Contents>,
    lifetimes: Lifetimes,
    names: &[String],
    now: Timestamp,
) -> Result<Data, IssueError> {
    let bundle = Bundle::parse(field(old, "ca.crt")).unwrap_or_default();
    let stored = StoredAuthorities::read(old, &bundle, now);
    let mut data = old.clone();
    let made;
    let (authority, next) = match (&stored.signer, &stored.next, last_good) {
        (Some(signer), next, _) => (signer, next.as_ref()),
        (None, Some(next), _) => (next, None),
        (
            None,
            None,
            Some(Contents {
                signer: Some(signer),
                next,
                ..
            }),
        ) if signer.not_after() > now => (signer, next.as_ref()),
        (None, None, _) => {
            made = CertificateAuthority::new(lifetimes.authority(), now)?;
            (&made, None)
        }
    };
    let leaf = authority.issue(
        &all_names(names, field(old, "tls.crt")),
        lifetimes.serving(),
        now,
    )?;
    let bundle: Bundle = std::iter::once(authority)
        .chain(next)
        .map(|authority| authority.certificate().clone())
        .chain(bundle.certificates().iter().cloned())
        .chain(last_good.map(|last| last.issuer.clone()))
        .collect();
    put(&mut data, "ca.crt", bundle.pem());
    put(&mut data, "ca.key", authority.key_pem());
    match next {
        Some(next) => put(&mut data, "ca-next.key", next.key_pem()),
        None => {
            data.remove("ca-next.key");
        }
    }
    if let Some(last) = last_good {
        let kept = last.replaced(String::new(), String::new(), now);
        if let Some(retired) = kept.get("tls-retired.crt") {
            data.insert("tls-retired.crt".to_owned(), retired.clone());
        }
    }
    put(&mut data, "tls.crt", leaf.chain_pem);
    put(&mut data, "tls.key", leaf.key_pem);
    Ok(data)
}

/// The authorities of a Secret's data, as far as they can be used.
struct StoredAuthorities {
    signer: Option<CertificateAuthority>,
    next: Option<CertificateAuthority>,
    retired: Bundle,
}

impl StoredAuthorities {
    /// `bundle` is what stands in `ca.crt`.
    fn read(data: &Data, bundle: &Bundle, now: Timestamp) -> Self {
        let authority = |key| CertificateAuthority::from_bundle(bundle, field(data, key), now).ok();
        Self {
            signer: authority("ca.key"),
            next: authority("ca-next.key"),
            retired: Bundle::parse(field(data, "tls-retired.crt")).unwrap_or_default(),
        }
    }
}

/// The most names of a certificate. It bounds what a manually created certificate can bring in.
const MOST_NAMES: usize = 32;

/// The most retired certificates, more than can be valid at once if each is renewed after two thirds of
/// its lifetime.
const MOST_RETIRED: usize = 8;

fn all_names(names: &[String], chain_pem: &[u8]) -> Vec<String> {
    let mut all = names.to_vec();
    for name in names_in(chain_pem) {
        if all.len() < MOST_NAMES && !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

fn is_valid(certificate: &CertificateDer<'_>, now: Timestamp) -> bool {
    Validity::of(certificate).is_ok_and(|validity| now < validity.not_after)
}

/// True if a certificate names this authority by the identifier of its key.
fn is_signed_by(leaf: &CertificateDer<'_>, authority: &CertificateDer<'_>) -> bool {
    use x509_parser::extensions::ParsedExtension::{AuthorityKeyIdentifier, SubjectKeyIdentifier};

    let parsed = (
        x509_parser::parse_x509_certificate(leaf),
        x509_parser::parse_x509_certificate(authority),
    );
    let (Ok((_, leaf)), Ok((_, authority))) = parsed else {
        return false;
    };
    let named = leaf
        .extensions()
        .iter()
        .find_map(|extension| match extension.parsed_extension() {
            AuthorityKeyIdentifier(named) => named.key_identifier.as_ref(),
            _ => None,
        });
    let own = authority
        .extensions()
        .iter()
        .find_map(|extension| match extension.parsed_extension() {
            SubjectKeyIdentifier(own) => Some(own),
            _ => None,
        });
    named.is_some() && named == own
}

pub(super) fn field<'a>(data: &'a Data, key: &str) -> &'a [u8] {
    data.get(key)
        .map_or(&[], |value| &value.0)
}

fn put(data: &mut Data, key: &str, pem: impl Into<String>) {
    data.insert(key.to_owned(), ByteString(pem.into().into_bytes()));
}

#[cfg(test)]
mod tests;
