//! Detects bursts of missing pods, in which pods are created first and reported later.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// This many pods in creation at once make a burst.
const MANY: usize = 8;
/// The shortest aftermath, in which pods still start late. It lasts at least as long as the burst.
const AFTERMATH: Duration = Duration::from_secs(15);

/// Counts the pods that are being created, and remembers the last burst.
#[derive(Debug, Default)]
pub(super) struct Burst(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    creating: usize,
    /// The last burst: its beginning, and its last time with many pods in creation.
    burst: Option<(Instant, Instant)>,
}

/// The load on the leader from creating pods.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pressure {
    /// Single pods now and then.
    Calm,
    /// A burst has ended, but the scheduler and the kubelets may lag behind.
    Aftermath,
    /// Many pods are in creation.
    Burst,
}

impl Burst {
    /// Counts a creation until the returned guard is dropped.
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
        // A panic while the lock was held cannot have left the state inconsistent.
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
        // A later creation is unrelated to it.
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
