//! Back-off for writing a field that another controller may also write.

use std::time::Duration;

use tokio::time::Instant;

use crate::doubling;

/// The first write is immediate; each one that follows soon waits twice as long.
#[derive(Debug, Default)]
pub(super) struct WriteBackoff {
    last: Option<Instant>,
    /// Writes that followed soon upon another.
    repeats: u32,
}

impl WriteBackoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(30);
    /// After this time without a write the conflict is over.
    const QUIET: Duration = Duration::from_secs(60);

    pub(super) fn wait_until(&self, now: Instant) -> Option<Instant> {
        let until = self.last? + doubling::pause(self.repeats, Self::FIRST, Self::LONGEST);
        (until > now).then_some(until)
    }

    pub(super) fn wrote(&mut self, now: Instant) {
        let quiet = self
            .last
            .is_none_or(|last| now.duration_since(last) > Self::QUIET);
        self.repeats = if quiet {
            0
        } else {
            self.repeats.saturating_add(1)
        };
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_that_follow_each_other_become_rare() {
        let mut backoff = WriteBackoff::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..11 {
            assert_eq!(backoff.wait_until(now), None);
            backoff.wrote(now);
            let until = backoff.wait_until(now).unwrap();
            pauses.push((until - now).as_millis());
            now = until;
        }
        let expected = [
            100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000,
        ];
        assert_eq!(pauses, expected);

        now += WriteBackoff::QUIET * 2;
        backoff.wrote(now);
        assert_eq!(backoff.wait_until(now), Some(now + WriteBackoff::FIRST));
    }
}
