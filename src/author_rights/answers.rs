use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::question::Key;

/// The most answers in memory, of about 64 bytes each.
const CAPACITY: usize = 4096;

/// The lifetime of a yes: long enough for both webhooks of a request, and for other objects that
/// are applied with it. A revoked right still counts for as long.
const ALLOWED: Duration = Duration::from_secs(10);

/// The lifetime of a no. It only takes off the load of repeated requests; a user who has just been
/// granted the right should not have to wait.
const DENIED: Duration = Duration::from_secs(1);

/// The recent answers.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<HashMap<Key, RememberedAnswer>>);

#[derive(Clone, Copy, Debug)]
struct RememberedAnswer {
    is_allowed: bool,
    until: Instant,
}

impl Answers {
    /// The remembered answer, if it is recent enough.
    pub(super) fn find(&self, key: Key, now: Instant) -> Option<bool> {
        let answers = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        answers
            .get(&key)
            .filter(|answer| now < answer.until)
            .map(|answer| answer.is_allowed)
    }

    /// Remembers an answer to a question that was asked at this time.
    pub(super) fn insert(&self, key: Key, is_allowed: bool, asked: Instant) {
        let lifetime = if is_allowed { ALLOWED } else { DENIED };
        let answer = RememberedAnswer {
            is_allowed,
            until: asked + lifetime,
        };
        let mut answers = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= CAPACITY {
            answers.retain(|_, answer| asked < answer.until);
        }
        // A forgotten question is just asked again.
        if answers.len() >= CAPACITY {
            answers.clear();
        }
        answers.insert(key, answer);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admission::Author, author_rights::question::Question};

    fn key(user: usize) -> Key {
        let author = Author {
            username: user.to_string(),
            ..Author::default()
        };
        Question::pods(&author, "team").key()
    }

    #[test]
    fn an_answer_counts_for_a_moment_and_a_no_for_less() {
        let answers = Answers::default();
        let now = Instant::now();
        answers.insert(key(1), true, now);
        answers.insert(key(2), false, now);
        assert_eq!(answers.find(key(1), now), Some(true));
        assert_eq!(answers.find(key(2), now), Some(false));
        assert_eq!(answers.find(key(3), now), None);
        assert_eq!(answers.find(key(2), now + DENIED), None);
        assert_eq!(answers.find(key(1), now + DENIED), Some(true));
        assert_eq!(answers.find(key(1), now + ALLOWED), None);
    }

    #[test]
    fn there_are_never_more_answers_than_there_is_room_for() {
        let answers = Answers::default();
        let now = Instant::now();
        for user in 0..CAPACITY - 1 {
            answers.insert(key(user), false, now);
        }
        answers.insert(key(CAPACITY), true, now);
        assert_eq!(answers.len(), CAPACITY);
        // Expired answers are dropped first.
        let later = now + DENIED;
        answers.insert(key(CAPACITY + 1), true, later);
        assert_eq!(answers.len(), 2);
        assert_eq!(answers.find(key(CAPACITY), later), Some(true));
        for user in 0..3 * CAPACITY {
            answers.insert(key(user), true, later);
            assert!(answers.len() <= CAPACITY);
        }
    }
}
