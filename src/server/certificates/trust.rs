//! The authorities that the API server trusts, according to both registrations.

use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

use crate::server::certificates::bundle::Bundle;

/// The time since which each authority has been in both registrations without a break.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    pub(super) mutating: FirstSeen,
    pub(super) validating: FirstSeen,
}

impl Trust {
    /// The time since which both registrations have held this authority; `None` while one of them lacks
    /// it.
    #[must_use]
    pub fn since(&self, authority: &CertificateDer<'_>) -> Option<Instant> {
        let mutating = self.mutating.since(authority)?;
        let validating = self.validating.since(authority)?;
        Some(mutating.max(validating))
    }
}

/// The authorities of one registration, each with the time at which it was first seen there.
#[derive(Clone, Debug, Default)]
pub struct FirstSeen(Vec<(CertificateDer<'static>, Instant)>);

impl FirstSeen {
    /// Records what all webhooks of the registration hold at `now`.
    pub(super) fn update(&mut self, held: &Bundle, now: Instant) {
        self.0 = held
            .certificates()
            .iter()
            .map(|authority| {
                let since = self.since(authority).unwrap_or(now);
                (authority.clone(), since)
            })
            .collect();
    }

    pub(super) fn since(&self, authority: &CertificateDer<'_>) -> Option<Instant> {
        self.0
            .iter()
            .find(|(seen, _)| seen == authority)
            .map(|(_, since)| *since)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn counts_from_when_the_later_of_both_held_it_without_a_break() {
        let [one, other] = [1, 2].map(|byte| CertificateDer::from(vec![byte]));
        let both = Bundle::from_iter([one.clone(), other.clone()]);
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);

        let mut trust = Trust::default();
        trust.mutating.update(&both, start);
        assert_eq!(trust.since(&one), None);
        trust.validating.update(&both, later(1));
        trust.validating.update(&both, later(2));
        assert_eq!(trust.since(&one), Some(later(1)));

        trust
            .mutating
            .update(&Bundle::of(other.clone()), later(3));
        assert_eq!(trust.since(&one), None);
        assert_eq!(trust.since(&other), Some(later(1)));
        trust.mutating.update(&both, later(4));
        assert_eq!(trust.since(&one), Some(later(4)));
    }
}
