//! The shutdown of a replica, in phases.

use std::sync::Arc;

use tokio::sync::watch;

/// The phases of a shutdown, shared by all tasks.
///
/// Clones are cheap and share the state. Phases only move forward.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<watch::Sender<Phase>>);

impl Shutdown {
    /// A replica that serves.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Serving)))
    }

    /// Starts the drain: readiness turns off, requests are still answered.
    pub fn drain(&self) {
        self.advance(Phase::Draining);
    }

    /// Ends what outlives the drain (probes, metrics), once the webhook's listener has returned.
    pub fn finish(&self) {
        self.advance(Phase::Finished);
    }

    /// True once the drain has begun.
    #[must_use]
    pub(crate) fn is_draining(&self) -> bool {
        *self.0.borrow() >= Phase::Draining
    }

    /// Waits until the drain has begun.
    pub(crate) async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Waits until the replica has finished.
    pub(crate) async fn finished(&self) {
        self.reached(Phase::Finished).await;
    }

    fn advance(&self, to: Phase) {
        self.0.send_if_modified(|phase| {
            let forward = to > *phase;
            if forward {
                *phase = to;
            }
            forward
        });
    }

    async fn reached(&self, phase: Phase) {
        let mut receiver = self.0.subscribe();
        // An error would mean that the sender is gone, and `self` holds it.
        let _ = receiver
            .wait_for(|now| *now >= phase)
            .await;
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Phase {
    Serving,
    Draining,
    Finished,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_learns_of_the_drain() {
        let shutdown = Shutdown::new();
        let clone = shutdown.clone();
        let waiting = tokio::spawn(async move { clone.draining().await });

        assert!(!shutdown.is_draining());
        shutdown.drain();

        waiting.await.unwrap();
        assert!(shutdown.is_draining());
    }

    #[tokio::test]
    async fn a_late_waiter_does_not_wait() {
        let shutdown = Shutdown::new();
        shutdown.finish();
        shutdown.draining().await;
        shutdown.finished().await;
    }

    #[test]
    fn phases_only_move_forward() {
        let shutdown = Shutdown::new();
        shutdown.finish();
        shutdown.drain();
        assert_eq!(*shutdown.0.borrow(), Phase::Finished);
    }
}
