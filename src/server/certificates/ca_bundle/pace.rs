use std::time::Duration;

use tokio::time::Instant;

/// The first write goes at once, for without caBundle whatever needs us is refused; each that
/// follows soon waits twice as long
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<Instant>,
    pause: Duration,
}

impl Pace {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(30);
    /// After so long without a write the quarrel is over
    const QUIET: Duration = Duration::from_secs(60);

    pub(super) fn wait_until(&self, now: Instant) -> Option<Instant> {
        let until = self.last? + self.pause;
        (until > now).then_some(until)
    }

    pub(super) fn wrote(&mut self, now: Instant) {
        let quiet = self
            .last
            .is_none_or(|last| now.duration_since(last) > Self::QUIET);
        self.pause = if quiet {
            Self::FIRST
        } else {
            (self.pause * 2).min(Self::LONGEST)
        };
        self.last = Some(now);
    }
}

/// Whether a bundle that somebody else wrote is written over once more
///
/// Twice, because one may be left over from before, or be a person's who does not know that it is
/// kept. A program that does it again would do so for ever.
#[derive(Debug, Default)]
pub(super) struct Quarrel(Vec<Instant>);

impl Quarrel {
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
    fn writes_that_follow_each_other_become_rare() {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..11 {
            assert_eq!(pace.wait_until(now), None);
            pace.wrote(now);
            let until = pace.wait_until(now).unwrap();
            pauses.push((until - now).as_millis());
            now = until;
        }
        let expected = [
            100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000,
        ];
        assert_eq!(pauses, expected);

        now += Pace::QUIET * 2;
        pace.wrote(now);
        assert_eq!(pace.wait_until(now), Some(now + Pace::FIRST));
    }

    #[test]
    fn a_rival_is_answered_twice_and_then_no_more() {
        let mut quarrel = Quarrel::default();
        let now = Instant::now();
        for _ in 0..2 {
            assert!(!quarrel.is_lost(now));
            quarrel.answered(now);
        }
        assert!(quarrel.is_lost(now));
        assert!(!quarrel.is_lost(now + Quarrel::MEMORY));
    }
}
