//! Answers that count for a moment.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Remembers answers for a while, and never more than there is room for: one that is forgotten is only
/// asked for again.
#[derive(Debug)]
pub(crate) struct TtlCache<K, V> {
    entries: Mutex<HashMap<K, Entry<V>>>,
    capacity: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    until: Instant,
}

impl<K: Eq + Hash, V: Copy> TtlCache<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            entries: Mutex::default(),
            capacity,
        }
    }

    /// The answer, if there is one that still counts at `now`.
    pub(crate) fn find<Q: Eq + Hash + ?Sized>(&self, key: &Q, now: Instant) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.lock()
            .get(key)
            .filter(|entry| now < entry.until)
            .map(|entry| entry.value)
    }

    /// Remembers the answer to a question that was asked at `asked`.
    pub(crate) fn insert(&self, key: K, value: V, asked: Instant, lifetime: Duration) {
        let mut entries = self.lock();
        if entries.len() >= self.capacity {
            entries.retain(|_, entry| asked < entry.until);
        }
        if entries.len() >= self.capacity {
            entries.clear();
        }
        let until = asked + lifetime;
        entries.insert(key, Entry { value, until });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Entry<V>>> {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_secs(1);

    #[test]
    fn an_answer_counts_for_as_long_as_it_was_given() {
        let cache = TtlCache::new(4);
        let now = Instant::now();
        cache.insert("yes", true, now, LONG);
        cache.insert("no", false, now, SHORT);
        assert_eq!(cache.find("yes", now), Some(true));
        assert_eq!(cache.find("no", now), Some(false));
        assert_eq!(cache.find("unknown", now), None);
        assert_eq!(cache.find("no", now + SHORT), None);
        assert_eq!(cache.find("yes", now + SHORT), Some(true));
        assert_eq!(cache.find("yes", now + LONG), None);
    }

    #[test]
    fn there_are_never_more_answers_than_there_is_room_for() {
        let cache = TtlCache::new(4);
        let now = Instant::now();
        for key in 0..3 {
            cache.insert(key, false, now, SHORT);
        }
        cache.insert(3, true, now, LONG);
        assert_eq!(cache.lock().len(), 4);
        // Those that count no more go first.
        let later = now + SHORT;
        cache.insert(4, true, later, LONG);
        assert_eq!(cache.lock().len(), 2);
        assert_eq!(cache.find(&3, later), Some(true));
        for key in 5..8 {
            cache.insert(key, true, later, LONG);
        }
        assert_eq!(cache.lock().len(), 1);
    }
}
