use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::doubling;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// The period in which a failure that was reported for one object is not reported for another. An
/// API server that is down is one problem, not one per object.
const QUIET: Duration = Duration::from_secs(60);
/// The most failures that are reported one by one in that period. More would be those of many
/// objects, whose statuses report them.
const MOST_SAID: usize = 1024;

/// The failures of every object of a kind, with the times of their retries.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: HashMap<Key, Failure>,
    /// Digests of the reported failures, with their times.
    said: HashMap<u64, Instant>,
}

/// The namespace and name of an object.
pub(super) type Key = (String, String);

#[derive(Debug)]
struct Failure {
    count: u32,
    message: String,
    generation: Option<i64>,
    retry_at: Instant,
}

/// A failure that has just been recorded.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Noted {
    /// The time until the next try.
    pub(super) retry_in: Duration,
    /// True if the failure is new: different from the last one, and not shared with other objects.
    pub(super) is_news: bool,
}

impl Backoff {
    /// Records that `generation` of an object failed.
    pub(super) fn fail(&self, key: Key, generation: Option<i64>, message: &str) -> Noted {
        let now = Instant::now();
        let mut state = self.lock();
        let known = state.failures.get(&key);
        let count = known.map_or(0, |failure| failure.count.saturating_add(1));
        let is_another = known.is_none_or(|failure| failure.message != message);
        let retry_in = doubling::pause(count, FIRST, LONGEST);
        let failure = Failure {
            count,
            message: message.to_owned(),
            generation,
            retry_at: now + retry_in,
        };
        state.failures.insert(key, failure);
        Noted {
            retry_in,
            is_news: is_another && state.is_unsaid(message, now),
        }
    }

    /// The time until the next try. A changed object is tried at once, since the change may have
    /// fixed it.
    pub(super) fn remaining(&self, key: &Key, generation: Option<i64>) -> Option<Duration> {
        let state = self.lock();
        let failure = state
            .failures
            .get(key)
            .filter(|failure| failure.generation == generation)?;
        failure
            .retry_at
            .checked_duration_since(Instant::now())
            .filter(|wait| !wait.is_zero())
    }

    /// Forgets the failures of an object that succeeded or is gone. Returns true if there were any.
    pub(super) fn forget(&self, key: &Key) -> bool {
        let failures = &mut self.lock().failures;
        let is_known = failures.remove(key).is_some();
        // A map keeps the capacity of removed entries.
        if is_known && failures.len() < failures.capacity() / 4 {
            failures.shrink_to(2 * failures.len());
        }
        is_known
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic cannot leave the state inconsistent.
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// True if this was not reported for any object lately. From now on it counts as reported.
    fn is_unsaid(&mut self, message: &str, now: Instant) -> bool {
        self.said
            .retain(|_, said| now.duration_since(*said) < QUIET);
        let digest = digest(message);
        let is_unsaid = self.said.len() < MOST_SAID && !self.said.contains_key(&digest);
        if is_unsaid {
            self.said.insert(digest, now);
        }
        is_unsaid
    }
}

fn digest(message: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    message.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        ("adaptive".to_owned(), "bot".to_owned())
    }

    #[test]
    fn a_success_starts_over() {
        let backoff = Backoff::default();
        backoff.fail(key(), Some(1), "quota");
        let second = backoff.fail(key(), Some(1), "quota");
        assert_eq!(second.retry_in, Duration::from_secs(2));
        assert!(backoff.forget(&key()));
        assert!(!backoff.forget(&key()));
        let third = backoff.fail(key(), Some(1), "quota");
        assert_eq!(third.retry_in, Duration::from_secs(1));
    }

    #[test]
    fn only_another_failure_is_news() {
        let backoff = Backoff::default();
        assert!(
            backoff
                .fail(key(), None, "quota")
                .is_news
        );
        assert!(
            !backoff
                .fail(key(), None, "quota")
                .is_news
        );
        assert!(
            backoff
                .fail(key(), None, "webhook")
                .is_news
        );
    }

    #[test]
    fn a_changed_object_does_not_wait() {
        let backoff = Backoff::default();
        assert_eq!(backoff.remaining(&key(), Some(1)), None);
        backoff.fail(key(), Some(1), "quota");
        assert!(
            backoff
                .remaining(&key(), Some(1))
                .is_some()
        );
        assert_eq!(backoff.remaining(&key(), Some(2)), None);
    }

    #[test]
    fn what_many_objects_suffer_from_is_said_once() {
        let backoff = Backoff::default();
        let fail = |name: &str, message| {
            let key = ("team".to_owned(), name.to_owned());
            backoff
                .fail(key, Some(1), message)
                .is_news
        };
        assert!(fail("one", "the API server is away"));
        assert!(!fail("two", "the API server is away"));
        assert!(fail("two", "quota"));
    }

    #[test]
    fn what_failed_and_is_gone_takes_no_memory() {
        let backoff = Backoff::default();
        let all = 10_000;
        for index in 0..all {
            let key = ("team".to_owned(), format!("bot-{index}"));
            let said = format!("quota of bot-{index}");
            backoff.fail(key, Some(1), &said);
        }
        for index in 0..all {
            assert!(backoff.forget(&("team".to_owned(), format!("bot-{index}"))));
        }
        let state = backoff.lock();
        assert!(state.failures.is_empty() && state.failures.capacity() < 16);
        assert_eq!(state.said.len(), MOST_SAID);
    }

    #[test]
    fn it_is_said_again_after_a_while() {
        let (mut state, now) = (State::default(), Instant::now());
        assert!(state.is_unsaid("away", now));
        assert!(!state.is_unsaid("away", now + QUIET / 2));
        assert!(state.is_unsaid("away", now + QUIET));
    }
}
