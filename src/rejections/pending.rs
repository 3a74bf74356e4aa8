//! The Rejections that wait to be written. Their number is bounded, and denials are folded before
//! they are written.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::time::Instant;

use super::{
    bucket::Bucket,
    identity::Identity,
    weight::{slim, weigh},
};
use crate::api::RejectionSpec;

/// The most Rejections in memory, of all namespaces together.
const MOST: usize = 4096;
/// The most memory for waiting Rejections, in bytes. Beyond that a Rejection is kept without the
/// submitted spec, and with its first cause only.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// The pause between two writes of a Rejection. Denials in between are folded.
const PAUSE: Duration = Duration::from_secs(5);

/// Denials by namespace and Rejection.
#[derive(Debug)]
pub(super) struct Pending {
    namespaces: HashMap<Box<str>, HashMap<Box<str>, PendingRejection>>,
    /// The number of entries in all namespaces together.
    known: usize,
    /// The size of all waiting Rejections, in bytes.
    bytes: usize,
    /// The most entries of one namespace. Others would be evicted as soon as they were written.
    per_namespace: usize,
    /// The rate limit for new entries, of all namespaces together.
    new: Bucket,
}

/// The entry of one Rejection.
#[derive(Debug)]
struct PendingRejection {
    /// The denials since the last write; `None` if there were none.
    denied: Option<Denied>,
    /// The time at which it may be written, or dropped if there is nothing to write.
    due: Instant,
    /// True while it is being written.
    is_busy: bool,
}

/// Denials to write as one Rejection. `count` of the record is their number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Denied(pub(super) RejectionSpec);

/// The result of folding a denial.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fold {
    /// Its Rejection has to be added by [`Pending::add`].
    Add,
    /// It is lost, because too many Rejections are new.
    Drop,
    /// It was added to a known Rejection.
    Join,
}

impl Pending {
    pub(super) fn new(per_namespace: usize, new: Bucket) -> Self {
        Self {
            namespaces: HashMap::new(),
            known: 0,
            bytes: 0,
            per_namespace: per_namespace.max(1),
            new,
        }
    }

    /// The number of Rejections that wait to be written.
    pub(super) fn len(&self) -> usize {
        self.namespaces
            .values()
            .flat_map(HashMap::values)
            .filter(|entry| entry.denied.is_some())
            .count()
    }

    /// Folds a denial into its Rejection, if that is known. A new Rejection counts against the rate
    /// limit.
    pub(super) fn fold(&mut self, identity: &Identity, seen: Timestamp, now: Instant) -> Fold {
        let known = self
            .namespaces
            .get_mut(&identity.namespace)
            .and_then(|entries| entries.get_mut(&identity.name));
        match known {
            Some(PendingRejection {
                denied: Some(Denied(record)),
                ..
            }) => {
                record.count = record.count.saturating_add(1);
                record.last_seen = Time(seen);
                Fold::Join
            }
            Some(_) => Fold::Add,
            None if self.new.take(1, now) => Fold::Add,
            None => Fold::Drop,
        }
    }

    /// Adds a denial whose Rejection is not known yet. Returns the number of lost denials: a
    /// namespace whose entries all wait to be written has no room for another.
    pub(super) fn add(
        &mut self,
        identity: Identity,
        mut record: RejectionSpec,
        now: Instant,
    ) -> u64 {
        let mut weight = weigh(&record);
        if self.bytes + weight > MOST_BYTES {
            slim(&mut record);
            weight = weigh(&record);
        }
        if self.known >= MOST {
            self.forget(now);
        }
        let entries = self
            .namespaces
            .entry(identity.namespace)
            .or_default();
        if let Some(entry) = entries.get_mut(&identity.name) {
            match &mut entry.denied {
                // Another request was faster.
                Some(Denied(waiting)) => {
                    waiting.count = waiting
                        .count
                        .saturating_add(record.count);
                }
                none => {
                    self.bytes += weight;
                    *none = Some(Denied(record));
                }
            }
            return 0;
        }
        if entries.len() >= self.per_namespace
            && let Some(name) = oldest_written(entries)
        {
            entries.remove(&name);
            self.known -= 1;
        }
        if entries.len() >= self.per_namespace || self.known >= MOST {
            return denials(&record);
        }
        self.known += 1;
        self.bytes += weight;
        entries.insert(
            identity.name,
            PendingRejection {
                denied: Some(Denied(record)),
                due: now,
                is_busy: false,
            },
        );
        0
    }

    /// Takes the Rejections that are due, the longest due first; with `all`, all that wait.
    pub(super) fn take(&mut self, now: Instant, most: usize, all: bool) -> Vec<(Identity, Denied)> {
        let mut due: Vec<_> = self
            .namespaces
            .iter()
            .flat_map(|(namespace, entries)| {
                entries
                    .iter()
                    .map(move |(name, entry)| (entry, namespace, name))
            })
            .filter(|(entry, ..)| {
                entry.denied.is_some() && !entry.is_busy && (all || entry.due <= now)
            })
            .map(|(entry, namespace, name)| (entry.due, namespace, name))
            .collect();
        due.sort_unstable_by_key(|(due, ..)| *due);
        let chosen: Vec<_> = due
            .into_iter()
            .take(most)
            .map(|(_, namespace, name)| Identity {
                namespace: namespace.clone(),
                name: name.clone(),
            })
            .collect();
        chosen
            .into_iter()
            .filter_map(|identity| {
                let entry = self.entry(&identity)?;
                entry.is_busy = true;
                let denied = entry.denied.take()?;
                self.bytes -= weigh(&denied.0);
                Some((identity, denied))
            })
            .collect()
    }

    /// The time at which the next Rejection is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.namespaces
            .values()
            .flat_map(HashMap::values)
            .filter(|entry| entry.denied.is_some() && !entry.is_busy)
            .map(|entry| entry.due)
            .min()
    }

    /// Ends a write and begins the pause before the next one. Denials that could not be written are
    /// put back.
    pub(super) fn settle(&mut self, identity: &Identity, unwritten: Option<Denied>, now: Instant) {
        let Some(entry) = self.entry(identity) else {
            return;
        };
        entry.is_busy = false;
        entry.due = now + PAUSE;
        if let Some(Denied(mut record)) = unwritten {
            let put_back = weigh(&record);
            let later = entry.denied.take();
            if let Some(Denied(later)) = &later {
                record.count = record.count.saturating_add(later.count);
                record.last_seen = later.last_seen.clone();
            }
            entry.denied = Some(Denied(record));
            self.bytes += put_back;
            self.bytes -= later.map_or(0, |Denied(later)| weigh(&later));
        }
    }

    /// Drops the entries that were written and have no new denials.
    pub(super) fn forget(&mut self, now: Instant) {
        for entries in self.namespaces.values_mut() {
            entries.retain(|_, entry| entry.denied.is_some() || entry.is_busy || entry.due > now);
        }
        self.namespaces
            .retain(|_, entries| !entries.is_empty());
        self.known = self
            .namespaces
            .values()
            .map(HashMap::len)
            .sum();
    }

    fn entry(&mut self, identity: &Identity) -> Option<&mut PendingRejection> {
        self.namespaces
            .get_mut(&identity.namespace)?
            .get_mut(&identity.name)
    }
}

/// The entry of a namespace that was written longest ago and has nothing left to write.
fn oldest_written(entries: &HashMap<Box<str>, PendingRejection>) -> Option<Box<str>> {
    entries
        .iter()
        .filter(|(_, entry)| entry.denied.is_none() && !entry.is_busy)
        .min_by_key(|(_, entry)| entry.due)
        .map(|(name, _)| name.clone())
}

fn denials(record: &RejectionSpec) -> u64 {
    u64::try_from(record.count).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rejections::refusal::tests::refusal;

    /// Denies an object once.
    fn deny(pending: &mut Pending, namespace: &str, name: &str, second: i64, now: Instant) -> u64 {
        let refusal = refusal(namespace, name, "alice");
        let seen = Timestamp::from_second(second).unwrap();
        let identity = Identity::of(&refusal);
        match pending.fold(&identity, seen, now) {
            Fold::Add => {}
            Fold::Drop => return 1,
            Fold::Join => return 0,
        }
        let record = RejectionSpec {
            count: 1,
            ..refusal.record(seen)
        };
        pending.add(identity, record, now)
    }

    fn pending(per_namespace: usize) -> Pending {
        Pending::new(per_namespace, Bucket::new(u32::MAX, 0))
    }

    fn counts(taken: &[(Identity, Denied)]) -> Vec<i64> {
        taken
            .iter()
            .map(|(_, Denied(record))| record.count)
            .collect()
    }

    #[test]
    fn repeats_fold_before_and_while_and_after_they_are_written() {
        let mut pending = pending(10);
        let start = Instant::now();
        deny(&mut pending, "a", "bot", 1, start);
        deny(&mut pending, "a", "bot", 2, start);
        assert_eq!(pending.len(), 1);
        let taken = pending.take(start, 10, false);
        assert_eq!(counts(&taken), [2]);
        let Denied(record) = &taken[0].1;
        assert_eq!(record.first_seen.0.as_second(), 1);
        assert_eq!(record.last_seen.0.as_second(), 2);

        deny(&mut pending, "a", "bot", 3, start);
        assert!(
            pending
                .take(start, 10, false)
                .is_empty(),
            "it is being written"
        );
        pending.settle(&taken[0].0, None, start);
        assert!(
            pending
                .take(start, 10, false)
                .is_empty(),
            "it was just written"
        );
        assert_eq!(pending.next_due(), Some(start + PAUSE));
        assert_eq!(counts(&pending.take(start + PAUSE, 10, false)), [1]);
    }

    #[test]
    fn what_could_not_be_written_is_put_back_with_what_came_meanwhile() {
        let mut pending = pending(10);
        let start = Instant::now();
        deny(&mut pending, "a", "bot", 1, start);
        let (identity, denied) = pending.take(start, 10, false).remove(0);
        deny(&mut pending, "a", "bot", 5, start);
        pending.settle(&identity, Some(denied), start);
        let taken = pending.take(start, 10, true);
        assert_eq!(counts(&taken), [2]);
        let Denied(record) = &taken[0].1;
        assert_eq!(record.first_seen.0.as_second(), 1);
        assert_eq!(record.last_seen.0.as_second(), 5);
    }

    #[test]
    fn new_rejections_have_a_rate_over_all_namespaces_and_repeats_still_count() {
        let mut pending = Pending::new(10, Bucket::new(2, 1));
        let start = Instant::now();
        for (namespace, lost) in [("a", 0), ("b", 0), ("c", 1), ("d", 1)] {
            let came = deny(&mut pending, namespace, "bot", 1, start);
            assert_eq!(came, lost, "{namespace}");
        }
        assert_eq!(deny(&mut pending, "a", "bot", 2, start), 0, "it is folded");
        let taken = pending.take(start, 10, false);
        assert_eq!(taken.len(), 2);
        let all: i64 = counts(&taken).iter().sum();
        assert_eq!(all, 3);
        for (identity, _) in taken {
            pending.settle(&identity, None, start);
        }
        let repeat = deny(&mut pending, "a", "bot", 3, start);
        assert_eq!(repeat, 0, "it is known, and is written again");
        let later = start + Duration::from_secs(1);
        assert_eq!(deny(&mut pending, "c", "bot", 4, later), 0);
        assert_eq!(deny(&mut pending, "d", "bot", 4, later), 1);
    }

    #[test]
    fn in_a_full_namespace_what_waits_stays_and_what_was_written_makes_room() {
        let mut pending = pending(2);
        let start = Instant::now();
        for (namespace, name) in [("a", "one"), ("a", "two"), ("a", "one"), ("b", "one")] {
            assert_eq!(deny(&mut pending, namespace, name, 1, start), 0);
        }
        assert_eq!(deny(&mut pending, "a", "three", 2, start), 1, "no room");
        assert_eq!(pending.len(), 3);
        for (identity, _) in pending.take(start, 1, false) {
            pending.settle(&identity, None, start);
        }
        for (identity, _) in pending.take(start, 1, false) {
            pending.settle(&identity, None, start);
        }
        assert_eq!(deny(&mut pending, "a", "three", 3, start), 0);
        assert!(pending.known <= 3, "{pending:?}");
    }

    #[test]
    fn memory_is_bounded_over_all_namespaces_and_frees_itself() {
        let mut pending = pending(MOST);
        let start = Instant::now();
        for index in 0..MOST {
            assert_eq!(
                deny(
                    &mut pending,
                    &format!("n{}", index % 64),
                    &format!("bot-{index}"),
                    1,
                    start
                ),
                0
            );
        }
        assert_eq!(deny(&mut pending, "late", "bot", 2, start), 1);
        for (identity, _) in pending.take(start, MOST, true) {
            pending.settle(&identity, None, start);
        }
        assert_eq!(deny(&mut pending, "late", "bot", 2, start + PAUSE), 0);
        assert_eq!(pending.known, 1);
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_and_still_says_what_was_refused() {
        let mut pending = pending(MOST);
        let start = Instant::now();
        let heavy = |name: &str| {
            let refusal = refusal("team", name, "alice");
            let record = RejectionSpec {
                count: 1,
                submitted: Some(serde_json::json!({"list": vec![1; 4096]})),
                ..refusal.record(Timestamp::UNIX_EPOCH)
            };
            (Identity::of(&refusal), record)
        };
        for index in 0..MOST {
            let (identity, record) = heavy(&format!("bot-{index}"));
            assert_eq!(pending.add(identity, record, start), 0, "none is lost");
        }
        let slim =
            MOST * weigh(&refusal("team", "bot-4095", "alice").record(Timestamp::UNIX_EPOCH));
        assert!(pending.bytes <= MOST_BYTES + slim, "{}", pending.bytes);

        let taken = pending.take(start, MOST, true);
        assert_eq!(taken.len(), MOST);
        assert_eq!(pending.bytes, 0);
        let cut = taken
            .iter()
            .filter(|(_, Denied(record))| record.submitted_truncated)
            .count();
        assert!(0 < cut && cut < MOST, "{cut}");
        for (identity, denied) in taken {
            pending.settle(&identity, Some(denied), start);
        }
        assert!(pending.bytes > 0);
        pending.take(start + PAUSE, MOST, true);
        assert_eq!(pending.bytes, 0);
    }
}
