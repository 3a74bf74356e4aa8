//! When many pods are missing at once: creating them comes first, reporting them later.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// From how many pods on that are created at a time it is a burst.
const MANY: usize = 8;
/// How long after that pods still come to run late, at least: it is as long as the burst was.
const AFTERMATH: Duration = Duration::from_secs(15);

/// How many pods are being created, and when there were many.
#[derive(Debug, Default)]
pub(super) struct Burst(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    creating: usize,
    /// The latest burst: when it began, and when many were last being created.
    burst: Option<(Instant, Instant)>,
}

/// How busy the leader is with creating pods.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pressure {
    /// One now and then.
    Calm,
    /// There were many, and the scheduler and the kubelets may be behind.
    Aftermath,
    /// Many wait.
    Burst,
}

impl Burst {
    /// Counts a creation until what is returned is dropped.
    pub(super) fn creating(&self) -> Creating<'_> {
        self.creating_at(Instant::now())
    }

    fn creating_at(&self, now: Instant) -> Creating<'_> {
        self.with(|state| {
            state.creating += 1;
            if state.creating >= MANY {
                let began = match state.burst {
                    Some((began, last)) if now.duration_since(last) < AFTERMATH => began,
                    _ => now,
                };
                state.burst = Some((began, now));
            }
        });
        Creating(self)
    }

    pub(super) fn pressure(&self, now: Instant) -> Pressure {
        self.with(|state| match state.burst {
            _ if state.creating >= MANY => Pressure::Burst,
            Some((began, last)) if now.duration_since(last) < AFTERMATH.max(last - began) => {
                Pressure::Aftermath
            }
            _ => Pressure::Calm,
        })
    }

    fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        // A panic while it was held cannot have left anything half done.
        look(
            &mut self
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

/// A pod that is being created.
pub(super) struct Creating<'b>(&'b Burst);

impl Drop for Creating<'_> {
    fn drop(&mut self) {
        self.0.with(|state| state.creating -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_burst_has_a_long_aftermath() {
        let burst = Burst::default();
        let many_at = |now| {
            let pods: Vec<_> = (0..MANY)
                .map(|_| burst.creating_at(now))
                .collect();
            drop(pods);
        };
        let (start, minute) = (Instant::now(), Duration::from_secs(60));
        for second in 0..=60 {
            many_at(start + Duration::from_secs(second));
        }
        assert_eq!(burst.pressure(start + minute * 3 / 2), Pressure::Aftermath);
        assert_eq!(burst.pressure(start + minute * 2), Pressure::Calm);
        // One that comes later has nothing to do with it.
        many_at(start + minute * 2);
        assert_eq!(burst.pressure(start + minute * 5 / 2), Pressure::Calm);
    }

    #[test]
    fn many_at_a_time_are_a_burst_and_have_an_aftermath() {
        let burst = Burst::default();
        let now = Instant::now();
        let mut pods: Vec<_> = (1..MANY)
            .map(|_| burst.creating())
            .collect();
        assert_eq!(burst.pressure(now), Pressure::Calm);
        pods.push(burst.creating());
        assert_eq!(burst.pressure(now), Pressure::Burst);
        pods.clear();
        assert_eq!(burst.pressure(now), Pressure::Aftermath);
        let later = Instant::now() + AFTERMATH;
        assert_eq!(burst.pressure(later), Pressure::Calm);
    }
}
