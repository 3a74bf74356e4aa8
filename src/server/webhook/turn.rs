//! A slot that its holder gives up while it waits for others.

use std::{future::Future, pin::pin, sync::Arc};

use futures::poll;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// One of the shared slots, held while there is work to do.
#[derive(Debug)]
pub(in crate::server) struct Turn {
    slots: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// Waits for a slot; `None` at the deadline.
    pub(in crate::server) async fn take(slots: &Arc<Semaphore>, deadline: Instant) -> Option<Self> {
        let mut turn = Self {
            slots: slots.clone(),
            held: None,
        };
        turn.retake(deadline)
            .await
            .then_some(turn)
    }

    /// Runs a future, without the slot if it takes any time, and then waits for a slot again; `None` if
    /// there is none until the deadline.
    pub(in crate::server) async fn give_way<T>(
        &mut self,
        others: impl Future<Output = T>,
        deadline: Instant,
    ) -> Option<T> {
        let mut others = pin!(others);
        if let std::task::Poll::Ready(done) = poll!(&mut others) {
            return Some(done);
        }
        self.held = None;
        let done = others.await;
        self.retake(deadline)
            .await
            .then_some(done)
    }

    async fn retake(&mut self, deadline: Instant) -> bool {
        let slot = self.slots.clone().acquire_owned();
        // The semaphore is never closed.
        self.held = timeout_at(deadline, slot)
            .await
            .ok()
            .and_then(Result::ok);
        self.held.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::{future::ready, time::Duration};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_slot_is_free_while_its_holder_waits_and_is_held_again_afterwards() {
        let slots = Arc::new(Semaphore::new(1));
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut turn = Turn::take(&slots, deadline)
            .await
            .unwrap();
        assert_eq!(turn.give_way(ready(1), deadline).await, Some(1));
        assert_eq!(slots.available_permits(), 0, "nothing was waited for");

        let (answer, question) = oneshot::channel();
        {
            let mut waiting = pin!(turn.give_way(question, deadline));
            assert!(poll!(&mut waiting).is_pending());
            let other = Turn::take(&slots, deadline).await;
            answer.send(2).unwrap();
            assert!(poll!(&mut waiting).is_pending(), "another has the slot");
            drop(other);
            assert_eq!(waiting.await, Some(Ok(2)));
        }
        assert_eq!(slots.available_permits(), 0);
        drop(turn);
        assert_eq!(slots.available_permits(), 1);
    }

    #[tokio::test]
    async fn nobody_waits_for_a_slot_beyond_the_deadline() {
        let slots = Arc::new(Semaphore::new(0));
        let soon = Instant::now() + Duration::from_millis(20);
        assert!(Turn::take(&slots, soon).await.is_none());
    }
}
