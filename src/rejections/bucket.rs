//! A rate limit with bursts.

use std::time::Duration;

use tokio::time::Instant;

/// A token bucket: full at first, and refilled at a constant rate.
#[derive(Debug)]
pub(super) struct Bucket {
    most: f64,
    per_second: f64,
    left: f64,
    seen: Option<Instant>,
}

impl Bucket {
    /// Creates a bucket for `most` at once and `per_second` in the long run.
    pub(super) fn new(most: u32, per_second: u32) -> Self {
        Self {
            most: most.into(),
            per_second: per_second.into(),
            left: most.into(),
            seen: None,
        }
    }

    /// Takes this amount, if it is available.
    pub(super) fn take(&mut self, amount: u32, now: Instant) -> bool {
        self.refill(now);
        let is_there = self.left >= amount.into();
        if is_there {
            self.left -= f64::from(amount);
        }
        is_there
    }

    /// Takes this amount even if it is not available. The bucket then stays empty until
    /// [`Self::wait`] is over.
    pub(super) fn owe(&mut self, amount: u32, now: Instant) {
        self.refill(now);
        self.left -= f64::from(amount);
    }

    /// The time until the bucket is no longer in debt.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        self.refill(now);
        Duration::try_from_secs_f64(-self.left / self.per_second).unwrap_or_default()
    }

    fn refill(&mut self, now: Instant) {
        let passed = self
            .seen
            .map_or(Duration::ZERO, |seen| now.saturating_duration_since(seen));
        self.left = self
            .most
            .min(self.left + passed.as_secs_f64() * self.per_second);
        self.seen = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_comes_back_at_its_rate_and_never_more_than_there_was() {
        let (mut bucket, start) = (Bucket::new(3, 2), Instant::now());
        let after = |seconds| start + Duration::from_secs_f64(seconds);
        for _ in 0..3 {
            assert!(bucket.take(1, start));
        }
        assert!(!bucket.take(1, after(0.25)));
        assert!(bucket.take(1, after(0.5)));
        assert!(!bucket.take(1, after(0.5)));
        for _ in 0..3 {
            assert!(bucket.take(1, after(3_600.0)));
        }
        assert!(!bucket.take(1, after(3_600.0)));
    }

    #[test]
    fn what_is_owed_has_to_come_back_first() {
        let (mut bucket, start) = (Bucket::new(10, 5), Instant::now());
        assert_eq!(bucket.wait(start), Duration::ZERO);
        bucket.owe(20, start);
        assert_eq!(bucket.wait(start), Duration::from_secs(2));
        assert!(!bucket.take(1, start));
        let later = start + Duration::from_secs(2);
        assert_eq!(bucket.wait(later), Duration::ZERO);
    }
}
