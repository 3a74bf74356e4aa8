//! The retention of Rejections: the oldest ones of a namespace with too many, or with more than its
//! share of the total, are deleted, and all that are too old.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Preconditions},
    runtime::watcher::Event,
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::{RejectionMetrics, Retention};
use crate::{
    api::{Readable, Rejection},
    watch::UnreadableObjects,
};

/// The interval between two checks of the ages.
const INTERVAL: Duration = Duration::from_secs(10);
/// The shortest pause between two checks, when many Rejections arrive.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause after a failed deletion.
const RETRY: Duration = Duration::from_secs(5);
/// The timeout of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Keeps the Rejections of the cluster within their limits, until it is dropped. Only the leader
/// runs it.
///
/// RBAC, in every namespace: `list`, `watch`, `delete` on rejections.
pub async fn retain(
    client: Client,
    retention: Retention,
    metrics: RejectionMetrics,
    unreadable: &UnreadableObjects,
) {
    let keeper = RetentionKeeper {
        client: client.clone(),
        retention,
        metrics,
        trail: Mutex::default(),
        has_changed: Notify::new(),
    };
    let mut unreadable = unreadable.of("Rejection");
    let watch = crate::watch::follow(
        Api::<Readable<Rejection>>::all(client),
        crate::watch::everything(),
        trim,
        |event| {
            unreadable.see(&event);
            keeper.trail().apply(event);
            keeper.has_changed.notify_one();
        },
    );
    futures::join!(watch, keeper.run());
}

/// Drops the fields that are not needed, before an object is stored.
fn trim(rejection: &mut Readable<Rejection>) {
    rejection.meta_mut().managed_fields = None;
    if let Readable::Read(rejection) = rejection {
        rejection.spec.submitted = None;
    }
}

struct RetentionKeeper {
    client: Client,
    retention: Retention,
    metrics: RejectionMetrics,
    trail: Mutex<RejectionMarks>,
    has_changed: Notify,
}

impl RetentionKeeper {
    async fn run(&self) {
        let mut is_failing = false;
        loop {
            let surplus = self
                .trail()
                .surplus(&self.retention, Timestamp::now());
            let mut failed = false;
            for (seen, why) in surplus {
                match self.delete(&seen).await {
                    Ok(is_deleted) => {
                        let counter = match why {
                            Why::Age => &self.metrics.expired,
                            Why::Number => &self.metrics.evicted,
                        };
                        counter.inc_by(u64::from(is_deleted));
                    }
                    Err(error) => {
                        failed = true;
                        // It is retried; one log line is enough.
                        if !is_failing {
                            warn!(namespace = seen.namespace, rejection = seen.name, %error, "a Rejection could not be deleted and is retried");
                        }
                        break;
                    }
                }
            }
            if is_failing && !failed {
                info!("Rejections can be deleted again");
            }
            is_failing = failed;
            if failed {
                sleep(RETRY).await;
                continue;
            }
            sleep(PAUSE).await;
            tokio::select! {
                () = self.has_changed.notified() => {}
                () = sleep(INTERVAL) => {}
            }
        }
    }

    /// Deletes a Rejection unless it was updated since it was seen. Returns true if it was deleted.
    async fn delete(&self, seen: &SeenRejections) -> Result<bool, String> {
        let rejections: Api<Readable<Rejection>> =
            Api::namespaced(self.client.clone(), &seen.namespace);
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: Some(seen.version.clone()),
                uid: None,
            }),
            ..DeleteParams::default()
        };
        let is_deleted =
            match timeout(REQUEST_TIMEOUT, rejections.delete(&seen.name, &params)).await {
                Ok(Ok(_)) => true,
                Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => false,
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) => return Err("the API server did not answer in time".to_owned()),
            };
        // The entry is removed now, before the watch reports the deletion.
        self.trail()
            .forget(&seen.namespace, &seen.name, &seen.version);
        Ok(is_deleted)
    }

    // A panic while the lock was held cannot have left the state inconsistent.
    fn trail(&self) -> MutexGuard<'_, RejectionMarks> {
        self.trail
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reason for a deletion.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Why {
    Age,
    Number,
}

/// A Rejection as it was last seen.
#[derive(Clone, Debug, Eq, PartialEq)]
struct SeenRejections {
    namespace: String,
    name: String,
    version: String,
}

/// The last denials of all Rejections, by namespace and name.
#[derive(Debug, Default)]
struct RejectionMarks {
    namespaces: BTreeMap<String, BTreeMap<String, Mark>>,
    /// The objects so far of a list in progress.
    listed: BTreeMap<String, BTreeMap<String, Mark>>,
}

#[derive(Clone, Debug)]
struct Mark {
    last_seen: Timestamp,
    version: String,
}

impl RejectionMarks {
    fn apply(&mut self, event: Event<Readable<Rejection>>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(rejection) => insert(&mut self.listed, &rejection),
            Event::InitDone => self.namespaces = std::mem::take(&mut self.listed),
            Event::Apply(rejection) => insert(&mut self.namespaces, &rejection),
            Event::Delete(rejection) => {
                let namespace = rejection
                    .namespace()
                    .unwrap_or_default();
                let name = rejection.name_any();
                if let Some(marks) = self.namespaces.get_mut(&namespace) {
                    marks.remove(&name);
                    if marks.is_empty() {
                        self.namespaces.remove(&namespace);
                    }
                }
            }
        }
    }

    /// The Rejections to delete, because there are too many or they are too old. A Rejection from
    /// the future, written before a clock was set back, is not old.
    fn surplus(&self, retention: &Retention, now: Timestamp) -> Vec<(SeenRejections, Why)> {
        let mut surplus = Vec::new();
        let per_namespace = self.share(retention);
        for (namespace, marks) in &self.namespaces {
            let mut by_age: Vec<_> = marks.iter().collect();
            // Times have a resolution of one second. Within one, the version gives the order.
            by_age.sort_unstable_by_key(|(_, mark)| {
                (mark.last_seen, mark.version.parse::<u64>().ok())
            });
            let too_many = by_age
                .len()
                .saturating_sub(per_namespace);
            for (index, (name, mark)) in by_age.into_iter().enumerate() {
                let age =
                    Duration::try_from(now.duration_since(mark.last_seen)).unwrap_or_default();
                let why = if age > retention.max_age {
                    Why::Age
                } else if index < too_many {
                    Why::Number
                } else {
                    break;
                };
                let seen = SeenRejections {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    version: mark.version.clone(),
                };
                surplus.push((seen, why));
            }
        }
        surplus
    }

    /// The most Rejections per namespace so that all of them together are within the limit. A user
    /// who fills one namespace takes nothing from the others.
    fn share(&self, retention: &Retention) -> usize {
        let in_all = |share: usize| {
            self.namespaces
                .values()
                .map(|marks| marks.len().min(share))
                .sum::<usize>()
        };
        let (mut least, mut most) = (1, retention.per_namespace);
        while least < most {
            let middle = (least + most).div_ceil(2);
            if in_all(middle) > retention.in_all {
                most = middle - 1;
            } else {
                least = middle;
            }
        }
        most
    }

    fn forget(&mut self, namespace: &str, name: &str, version: &str) {
        if let Some(marks) = self.namespaces.get_mut(namespace)
            && marks
                .get(name)
                .is_some_and(|mark| mark.version == version)
        {
            marks.remove(name);
        }
    }
}

fn insert(
    namespaces: &mut BTreeMap<String, BTreeMap<String, Mark>>,
    rejection: &Readable<Rejection>,
) {
    let last_seen = match rejection {
        Readable::Read(rejection) => rejection.spec.last_seen.0,
        // Of another version: its creation is the latest time known.
        Readable::Unread(unread) => unread
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or_else(Timestamp::now, |time| time.0),
    };
    let mark = Mark {
        last_seen,
        version: rejection
            .resource_version()
            .unwrap_or_default(),
    };
    namespaces
        .entry(
            rejection
                .namespace()
                .unwrap_or_default(),
        )
        .or_default()
        .insert(rejection.name_any(), mark);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fake_api::{Api as FakeApi, Reply};

    fn rejection(namespace: &str, name: &str, last_seen: i64) -> Readable<Rejection> {
        let last_seen = Timestamp::from_second(last_seen).unwrap();
        serde_json::from_value(json!({
            "apiVersion": "agentkube.io/v1alpha1",
            "kind": "Rejection",
            "metadata": {"namespace": namespace, "name": name, "resourceVersion": "7"},
            "spec": {
                "object": {"kind": "Agent", "name": "bot"},
                "operation": "CREATE", "user": "alice", "decision": "deny",
                "reason": "ImageRequired", "field": "spec.image", "message": "no image",
                "count": 1, "firstSeen": last_seen, "lastSeen": last_seen,
            },
        }))
        .unwrap()
    }

    fn trail(rejections: &[(&str, &str, i64)]) -> RejectionMarks {
        let mut trail = RejectionMarks::default();
        for (namespace, name, last_seen) in rejections {
            trail.apply(Event::Apply(rejection(namespace, name, *last_seen)));
        }
        trail
    }

    fn gone(trail: &RejectionMarks, retention: Retention, now: i64) -> Vec<(String, Why)> {
        trail
            .surplus(&retention, Timestamp::from_second(now).unwrap())
            .into_iter()
            .map(|(seen, why)| (format!("{}/{}", seen.namespace, seen.name), why))
            .collect()
    }

    const RETENTION: Retention = Retention {
        per_namespace: 2,
        in_all: 100,
        max_age: Duration::from_secs(100),
    };

    #[test]
    fn one_of_another_version_is_as_old_as_it_is_at_least() {
        let newer = |name: &str, created: &str| -> Readable<Rejection> {
            serde_json::from_value(json!({
                "metadata": {"namespace": "a", "name": name, "resourceVersion": "7", "creationTimestamp": created},
                "spec": {"decision": "newer"},
            }))
            .unwrap()
        };
        let mut trail = RejectionMarks::default();
        let old = newer("old", "1970-01-01T00:00:00Z");
        assert!(old.unreadable().is_some());
        trail.apply(Event::Apply(old));
        trail.apply(Event::Apply(newer("new", "1970-01-01T00:15:00Z")));
        assert_eq!(
            gone(&trail, RETENTION, 950),
            [("a/old".to_owned(), Why::Age)]
        );
    }

    #[test]
    fn the_oldest_of_a_full_namespace_go_and_so_does_what_is_too_old() {
        let trail = trail(&[
            ("a", "new", 1_000),
            ("a", "newer", 1_010),
            ("a", "newest", 1_020),
            ("b", "old", 890),
            ("b", "new", 1_000),
        ]);
        assert_eq!(
            gone(&trail, RETENTION, 1_030),
            [
                ("a/new".to_owned(), Why::Number),
                ("b/old".to_owned(), Why::Age)
            ]
        );
    }

    #[test]
    fn all_namespaces_together_have_a_limit_and_who_has_most_gives_first() {
        let mut all = Vec::new();
        for second in 0..50 {
            all.push(("flooded", format!("r{second}"), second));
        }
        for namespace in ["a", "b", "c"] {
            all.push((namespace, "own".to_owned(), 0));
        }
        let all: Vec<_> = all
            .iter()
            .map(|(namespace, name, second)| (*namespace, name.as_str(), *second))
            .collect();
        let trail = trail(&all);
        let retention = Retention {
            per_namespace: 200,
            in_all: 10,
            max_age: Duration::from_secs(100),
        };
        let gone = gone(&trail, retention, 50);
        assert_eq!(gone.len(), 43, "{gone:?}");
        assert!(
            gone.iter()
                .all(|(name, why)| name.starts_with("flooded/") && *why == Why::Number)
        );
        assert!(
            !gone
                .iter()
                .any(|(name, _)| name == "flooded/r49")
        );
        let fewer = Retention {
            in_all: 1,
            ..retention
        };
        assert_eq!(
            trail
                .surplus(&fewer, Timestamp::UNIX_EPOCH)
                .len(),
            49
        );
    }

    #[test]
    fn a_clock_that_is_set_back_costs_nothing() {
        let trail = trail(&[("a", "future", i64::from(u32::MAX))]);
        assert!(gone(&trail, RETENTION, 0).is_empty());
    }

    #[test]
    fn a_new_list_forgets_what_is_not_in_it() {
        let mut trail = trail(&[("a", "one", 1), ("a", "two", 2)]);
        trail.apply(Event::Init);
        trail.apply(Event::InitApply(rejection("a", "two", 2)));
        trail.apply(Event::InitDone);
        trail.apply(Event::Delete(rejection("b", "never", 2)));
        assert_eq!(
            gone(&trail, RETENTION, 1_000),
            [("a/two".to_owned(), Why::Age)]
        );
        trail.apply(Event::Delete(rejection("a", "two", 2)));
        assert!(trail.namespaces.is_empty());
    }

    #[tokio::test]
    async fn a_rejection_is_deleted_only_as_it_was_seen() {
        let api = FakeApi::default();
        api.on(
            "DELETE",
            "/rejections/old",
            Reply::error(409, "Conflict", "it was modified"),
        );
        let keeper = RetentionKeeper {
            client: api.client(),
            retention: RETENTION,
            metrics: RejectionMetrics::default(),
            trail: Mutex::new(trail(&[("a", "old", 1)])),
            has_changed: Notify::new(),
        };
        let seen = keeper
            .trail()
            .surplus(&RETENTION, Timestamp::from_second(1_000).unwrap())
            .remove(0)
            .0;
        assert_eq!(keeper.delete(&seen).await, Ok(false));
        let sent = api.request("DELETE", "/namespaces/a/rejections/old");
        assert_eq!(sent["preconditions"]["resourceVersion"], "7");
        assert!(
            keeper
                .trail()
                .surplus(&RETENTION, Timestamp::from_second(1_000).unwrap())
                .is_empty()
        );
    }
}
