//! The phases of connections, and the choice of the one to close.
//!
//! ```text
//! [ Handshake ] -> [ Idle ] -> [ Head ] -> [ Body ] -> [ Answer ] -> [ Idle ] ...
//! ```
//!
//! In every phase except `Answer` the client has to act. A client that was never answered is owed least,
//! and one that was just answered is owed most. So clients that only keep connections open, in any
//! phase, cannot keep out clients that use theirs.

pub mod connection;
pub mod listener;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::{AbortHandle, Id},
    time::Instant,
};

use super::limits::Limits;

/// All open connections, bounded in number and in the time of each phase.
pub(super) struct Connections {
    members: HashMap<Id, Member>,
    limits: Limits,
}

/// The place of a new connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NewPlace {
    /// The place was free.
    Free,
    /// Another connection was closed for it.
    Evicted,
}

struct Member {
    state: ConnectionState,
    task: AbortHandle,
}

impl Connections {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            members: HashMap::with_capacity(limits.connections),
            limits,
        }
    }

    /// A place for a new connection: a free one, or else that of the connection that is owed least,
    /// which is closed. `None` while all connections wait for our answers.
    pub(super) fn place(&mut self) -> Option<NewPlace> {
        if self.members.len() < self.limits.connections {
            return Some(NewPlace::Free);
        }
        let (_, id) = self
            .members
            .iter()
            .filter_map(|(id, member)| Some((member.state.owed()?, *id)))
            .min_by_key(|(owed, _)| *owed)?;
        self.end(id);
        Some(NewPlace::Evicted)
    }

    pub(super) fn admit(&mut self, state: ConnectionState, task: AbortHandle) {
        self.members
            .insert(task.id(), Member { state, task });
    }

    pub(super) fn leave(&mut self, id: Id) {
        self.members.remove(&id);
    }

    /// Closes connections that have been in a phase for too long.
    pub(super) fn end_overdue(&mut self) {
        let overdue: Vec<Id> = self
            .members
            .iter()
            .filter(|(_, member)| member.state.is_overdue(&self.limits))
            .map(|(id, _)| *id)
            .collect();
        for id in overdue {
            tracing::debug!(
                "a connection was closed because it was idle, or slow to send a request's head"
            );
            self.end(id);
        }
    }

    /// Closes a connection. The place is free at once; the task releases its resources when it next
    /// runs.
    fn end(&mut self, id: Id) {
        if let Some(member) = self.members.remove(&id) {
            member.task.abort();
        }
    }
}

/// The phase of one connection: written by its own task, read by the listener.
#[derive(Clone, Debug)]
pub(super) struct ConnectionState {
    epoch: Instant,
    /// The phase in the lowest three bits, then one bit that is set once a request was answered, then
    /// the start of the phase in milliseconds since the epoch.
    packed: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// We have to answer.
    Answer,
    /// The client has to send the rest of a body.
    Body,
    /// The client has to finish the TLS session.
    Handshake,
    /// The client has to send the rest of a head.
    Head,
    /// The client has to send a request, or to read the last answer.
    Idle,
}

impl ConnectionState {
    /// A connection that is accepted now.
    pub(super) fn new(epoch: Instant) -> Self {
        let state = Self {
            epoch,
            packed: Arc::default(),
        };
        state.store(Phase::Handshake, false);
        state
    }

    pub(super) fn enter(&self, phase: Phase) {
        let (_, is_answered, _) = self.load();
        self.store(phase, is_answered);
    }

    /// Records that a request was answered, and the next may come.
    pub(super) fn answered(&self) {
        self.store(Phase::Idle, true);
    }

    pub(super) fn phase(&self) -> Phase {
        self.load().0
    }

    /// The rank of what the connection is owed, lowest first; `None` while we have to act.
    fn owed(&self) -> Option<(bool, u64)> {
        let (phase, is_answered, since) = self.load();
        (phase != Phase::Answer).then_some((is_answered, since))
    }

    fn is_overdue(&self, limits: &Limits) -> bool {
        let (phase, _, since) = self.load();
        let limit = match phase {
            Phase::Head => limits.head,
            Phase::Idle => limits.idle,
            // Each has its own timer: that of the handshake is counted, that of a body is answered.
            Phase::Answer | Phase::Body | Phase::Handshake => return false,
        };
        self.epoch.elapsed() > Duration::from_millis(since) + limit
    }

    // Only the connection's own task writes, and the listener needs no ordering, since it looks again.
    fn store(&self, phase: Phase, is_answered: bool) {
        let since = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        let packed = (since << 4) | (u64::from(is_answered) << 3) | phase as u64;
        self.packed
            .store(packed, Ordering::Relaxed);
    }

    fn load(&self) -> (Phase, bool, u64) {
        let packed = self.packed.load(Ordering::Relaxed);
        let phase = [Phase::Answer, Phase::Body, Phase::Handshake, Phase::Head]
            .into_iter()
            .find(|phase| *phase as u64 == packed & 0b111)
            .unwrap_or(Phase::Idle);
        (phase, packed & 0b1000 != 0, packed >> 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection in a phase since so long ago.
    fn state(phase: Phase, is_answered: bool, ago: Duration) -> ConnectionState {
        let state = ConnectionState::new(Instant::now() - Duration::from_secs(3600));
        state.store(phase, is_answered);
        let since = u64::try_from(ago.as_millis()).unwrap();
        state
            .packed
            .fetch_sub(since << 4, Ordering::Relaxed);
        state
    }

    fn admit(connections: &mut Connections, state: ConnectionState) -> Id {
        let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
        let id = task.id();
        connections.admit(state, task);
        id
    }

    fn crowd_of(connections: usize) -> Connections {
        Connections::new(Limits {
            connections,
            ..Limits::webhook(Duration::ZERO)
        })
    }

    #[tokio::test]
    async fn whoever_was_never_answered_goes_first_and_the_longest_waiting_of_them() {
        let mut connections = crowd_of(5);
        let ids = [
            (Phase::Answer, false, 50),
            (Phase::Idle, true, 40),
            (Phase::Body, false, 30),
            (Phase::Handshake, false, 20),
            (Phase::Head, true, 10),
        ]
        .map(|(phase, is_answered, seconds)| {
            let ago = Duration::from_secs(seconds);
            admit(&mut connections, state(phase, is_answered, ago))
        });
        for expected in [2, 3, 1, 4] {
            assert_eq!(connections.place(), Some(NewPlace::Evicted));
            assert!(
                !connections
                    .members
                    .contains_key(&ids[expected]),
                "{expected}"
            );
            assert_eq!(connections.place(), Some(NewPlace::Free));
            admit(
                &mut connections,
                state(Phase::Answer, false, Duration::ZERO),
            );
        }
        assert_eq!(connections.place(), None, "everybody waits for us");
    }

    #[tokio::test]
    async fn heads_have_less_time_than_the_pauses_between_requests() {
        let mut connections = crowd_of(5);
        let limits = connections.limits;
        let second = Duration::from_secs(1);
        let [slow, in_time, gone, idle, busy] = [
            (Phase::Head, limits.head + second),
            (Phase::Head, limits.head / 2),
            (Phase::Idle, limits.idle + second),
            (Phase::Idle, limits.idle / 2),
            (Phase::Answer, limits.idle * 2),
        ]
        .map(|(phase, ago)| admit(&mut connections, state(phase, true, ago)));
        connections.end_overdue();
        for (id, stays) in [
            (slow, false),
            (in_time, true),
            (gone, false),
            (idle, true),
            (busy, true),
        ] {
            assert_eq!(connections.members.contains_key(&id), stays);
        }
    }

    #[test]
    fn phases_are_read_as_they_were_written() {
        let state = ConnectionState::new(Instant::now());
        for is_answered in [false, true] {
            for phase in [
                Phase::Answer,
                Phase::Body,
                Phase::Handshake,
                Phase::Head,
                Phase::Idle,
            ] {
                state.enter(phase);
                let (read, answered, _) = state.load();
                assert_eq!((read, answered), (phase, is_answered));
            }
            state.answered();
        }
    }
}
