use std::time::Duration;

use tokio::time::Instant;

/// Decides if a bundle of another program is overwritten once more.
///
/// It is overwritten twice, since a write may be a leftover, or come from a person who does not know
/// that the manager maintains it. A program that writes again would do so forever.
#[derive(Debug, Default)]
pub(super) struct TakeoverAttempts(Vec<Instant>);

impl TakeoverAttempts {
    const ANSWERS: usize = 2;
    const MEMORY: Duration = Duration::from_secs(600);

    pub(super) fn is_lost(&self, now: Instant) -> bool {
        let recent = self
            .0
            .iter()
            .filter(|answered| now.duration_since(**answered) < Self::MEMORY);
        recent.count() >= Self::ANSWERS
    }

    pub(super) fn answered(&mut self, now: Instant) {
        self.0
            .retain(|answered| now.duration_since(*answered) < Self::MEMORY);
        self.0.push(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rival_is_answered_twice_and_then_no_more() {
        let mut takeovers = TakeoverAttempts::default();
        let now = Instant::now();
        for _ in 0..2 {
            assert!(!takeovers.is_lost(now));
            takeovers.answered(now);
        }
        assert!(takeovers.is_lost(now));
        assert!(!takeovers.is_lost(now + TakeoverAttempts::MEMORY));
    }
}
