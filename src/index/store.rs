use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use papaya::{Equivalent, HashMap};

/// Facts by namespace and name, which are read without a lock.
#[derive(Debug)]
pub struct Store<F> {
    facts: HashMap<ObjectKey, IndexEntry<F>>,
    is_synced: AtomicBool,
}

/// An entry of the store.
#[derive(Debug)]
pub(super) enum IndexEntry<F> {
    /// The facts about the object.
    Facts(Arc<F>),
    /// The path of a field that this version cannot read.
    Unreadable(Arc<str>),
}

impl<F> Clone for IndexEntry<F> {
    fn clone(&self) -> Self {
        match self {
            Self::Facts(facts) => Self::Facts(facts.clone()),
            Self::Unreadable(field) => Self::Unreadable(field.clone()),
        }
    }
}

/// The namespace and name of an object. Field order and types hash like those of [`Lookup`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct ObjectKey {
    pub(super) namespace: Box<str>,
    pub(super) name: Box<str>,
}

/// A borrowed [`ObjectKey`].
#[derive(Hash)]
struct Lookup<'a> {
    namespace: &'a str,
    name: &'a str,
}

impl<F> Default for Store<F> {
    fn default() -> Self {
        Self {
            facts: HashMap::new(),
            is_synced: AtomicBool::new(false),
        }
    }
}

impl<F> Store<F> {
    /// The latest facts about one object; `None` if the object is unknown or unreadable.
    #[must_use]
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<F>> {
        match self.look(namespace, name)? {
            IndexEntry::Facts(facts) => Some(facts),
            IndexEntry::Unreadable(_) => None,
        }
    }

    /// The latest entry of one object.
    pub(super) fn look(&self, namespace: &str, name: &str) -> Option<IndexEntry<F>> {
        self.facts
            .pin()
            .get(&Lookup { namespace, name })
            .cloned()
    }

    /// The number of known objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.facts.len()
    }

    /// True if no object is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// True once the first list has arrived.
    #[must_use]
    pub(crate) fn is_synced(&self) -> bool {
        self.is_synced.load(Ordering::Acquire)
    }

    pub(super) fn insert(&self, key: ObjectKey, entry: IndexEntry<F>) {
        self.facts.pin().insert(key, entry);
    }

    pub(super) fn remove(&self, key: &ObjectKey) {
        self.facts.pin().remove(key);
    }

    /// Ends a list, and drops the objects that were not in it.
    pub(super) fn finish_list(&self, listed: &std::collections::HashSet<ObjectKey>) {
        self.facts
            .pin()
            .retain(|key, _| listed.contains(key));
        self.is_synced
            .store(true, Ordering::Release);
    }
}

impl Equivalent<ObjectKey> for Lookup<'_> {
    fn equivalent(&self, key: &ObjectKey) -> bool {
        *self.namespace == *key.namespace && *self.name == *key.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(facts: i32) -> IndexEntry<i32> {
        IndexEntry::Facts(Arc::new(facts))
    }

    fn key(namespace: &str, name: &str) -> ObjectKey {
        ObjectKey {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    #[test]
    fn objects_are_found_by_namespace_and_name() {
        let store = Store::default();
        store.insert(key("a", "bot"), facts(1));
        store.insert(key("b", "bot"), facts(2));
        assert_eq!(store.find("a", "bot").as_deref(), Some(&1));
        assert_eq!(store.find("b", "bot").as_deref(), Some(&2));
        assert_eq!(store.find("c", "bot"), None);
        store.remove(&key("a", "bot"));
        assert_eq!(store.find("a", "bot"), None);
    }

    #[test]
    fn a_finished_list_drops_what_was_deleted_meanwhile() {
        let store = Store::default();
        store.insert(key("a", "old"), facts(1));
        assert!(!store.is_synced());
        store.insert(key("a", "new"), facts(2));
        store.finish_list(&[key("a", "new")].into());
        assert!(store.is_synced());
        assert_eq!(store.find("a", "old"), None);
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn what_is_known_of_an_object_is_given_back_when_it_goes() {
        let store = Store::default();
        let round = |round: usize| {
            for version in 0..2 {
                for index in 0..1_000 {
                    let name = format!("bot-{round}-{index}");
                    store.insert(
                        key("team", &name),
                        IndexEntry::Facts(Arc::new(vec![version; 100])),
                    );
                }
            }
            for index in 0..1_000 {
                store.remove(&key("team", &format!("bot-{round}-{index}")));
            }
        };
        let kept = allocation_counter::measure(|| (0..10).for_each(round));
        assert!(store.is_empty());
        assert!(
            kept.bytes_current < 2 * 1024 * 1024,
            "{} bytes are left",
            kept.bytes_current
        );
    }
}
