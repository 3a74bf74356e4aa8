//! When certificates are renewed, and in which steps, from nothing but what the Secret holds.
//!
//! ```text
//! steady:    ca.crt = [A]     ca.key = A                     tls.crt by A
//! announced: ca.crt = [A, B]  ca.key = A   ca-next.key = B   tls.crt by A
//! switched:  ca.crt = [B, A]  ca.key = B                     tls.crt by B   tls-retired.crt by A
//! steady:    ca.crt = [B]     ca.key = B                     tls.crt by B
//! ```
//!
//! A serving certificate is renewed at two thirds of its life, under the same authority. The
//! authority is, too, but in the steps above, each of which any replica takes:
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
//! A pair whose authority's key is not there was put into the Secret by somebody else, who is given
//! nine tenths of its life to renew it.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::ByteString;
use rustls::pki_types::CertificateDer;

use super::{
    bundle::{Bundle, is_ours},
    issue::{CertificateAuthority, IssueError, Lifetimes, names_in},
    pair::{Pair, PairError, Validity},
};

/// What a Secret's data is
pub(super) type Data = BTreeMap<String, ByteString>;

/// A Secret's data that can be served
pub(super) struct Contents {
    pub(super) pair: Arc<Pair>,
    /// The authority under which clients accept the pair
    pub(super) issuer: CertificateDer<'static>,
    /// `ca.crt`
    pub(super) bundle: Bundle,
    /// The authority that signs, if its key is there and it is valid
    signer: Option<CertificateAuthority>,
    /// The authority that was announced
    next: Option<CertificateAuthority>,
    retired: Bundle,
    data: Data,
}

/// What has to be done with a Secret that can be served
pub(super) enum Step {
    /// Nothing, before this time
    Wait(Timestamp),
    /// The Secret has to hold this instead
    Write {
        data: Data,
        /// For the log
        what: &'static str,
    },
}

impl Contents {
    /// Asks what the API server would ask of the certificate, for every name that it may use
    ///
    /// The authority's key is not asked for: it is needed to issue, not to serve.
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

    /// The authority that was announced
    pub(super) fn announced(&self) -> Option<&CertificateDer<'static>> {
        self.next
            .as_ref()
            .map(CertificateAuthority::certificate)
    }

    /// Whether both would have the same served and trusted
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.pair.chain() == other.pair.chain() && self.bundle == other.bundle
    }

    /// What is to be done at `now`; `is_trusted` says whether the API server has known an authority
    /// for long enough
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
            let what = "an authority that nobody needs any more was removed";
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

    /// When a new authority has to be announced
    fn authority_due(&self) -> Timestamp {
        match &self.signer {
            Some(signer) => Validity::of(signer.certificate())
                .map_or(Timestamp::MIN, |validity| validity.after(2, 3)),
            None => self.pair.validity().after(9, 10),
        }
    }

    /// When the certificate has to be renewed, if that gains anything: one that ends with its
    /// authority would be renewed again and again
    fn leaf_due(&self) -> Timestamp {
        let Some(signer) = &self.signer else {
            return Timestamp::MAX;
        };
        if signer.not_after() <= self.pair.not_after() {
            return Timestamp::MAX;
        }
        self.pair.validity().after(2, 3)
    }

    /// Our own, and what else the certificate carries: two releases with different names would take
    /// turns for ever
    fn leaf_names(&self, names: &[String]) -> Vec<String> {
        all_names(names, field(&self.data, "tls.crt"))
    }

    /// The data with another pair in it, and with the old one among the retired
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

    /// The authorities without those of our own that have signed nothing that is still valid
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

/// Fresh data under an authority: for a Secret that is not there
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

/// Data that cannot be served, made so that it can: a certificate of the authority that is there,
/// else of the one that was announced, else of the last good one, else of a new one. What else
/// stands there stays.
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

/// More names than any installation has, and a bound on what a hand-made certificate can bring in
const MOST_NAMES: usize = 32;

/// More certificates than are valid at a time when each is renewed at two thirds of its life
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

/// Whether a certificate names this authority as its own, by the identifier of its key
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
