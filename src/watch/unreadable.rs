//! The objects of a watch that cannot be read: each is logged once, and all are counted.

use std::collections::HashMap;

use kube::{Resource, ResourceExt, runtime::watcher::Event};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
};
use tracing::{info, warn};

use crate::{admission::hide_credentials, api::Readable};

/// The number of unreadable objects of each kind. Clones share their counts.
#[derive(Clone, Debug)]
pub struct UnreadableObjects(Family<KindLabels, Gauge>);

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(crate) struct KindLabels {
    kind: &'static str,
}

/// The kinds of objects that are counted.
pub(crate) const COUNTED_KINDS: [&str; 5] = ["Agent", "Lease", "Pod", "Rejection", "Tool"];

/// The unreadable objects of one kind.
pub(crate) struct Unreadable {
    kind: &'static str,
    count: Gauge,
    /// The unreadable field, by namespace and name.
    known: HashMap<(String, String), String>,
    /// The unreadable objects of the list in progress.
    listed: Vec<(String, String)>,
}

/// An object of a watch that may be unreadable.
pub(crate) trait MaybeUnreadable: Resource {
    /// The field that cannot be read, if any.
    fn unreadable(&self) -> Option<&str>;
}

impl<T: Resource> MaybeUnreadable for Readable<T> {
    fn unreadable(&self) -> Option<&str> {
        Self::unreadable(self)
    }
}

impl UnreadableObjects {
    /// The gauges, to be registered.
    pub(crate) fn family(&self) -> Family<KindLabels, Gauge> {
        self.0.clone()
    }

    /// A count for one kind, starting empty.
    pub(crate) fn of(&self, kind: &'static str) -> Unreadable {
        Unreadable {
            kind,
            count: self
                .0
                .get_or_create_owned(&KindLabels { kind }),
            known: HashMap::new(),
            listed: Vec::new(),
        }
    }
}

impl Default for UnreadableObjects {
    fn default() -> Self {
        let family = Family::default();
        for kind in COUNTED_KINDS {
            // A series that exists from the start can be told from a missing one.
            let _ = family.get_or_create_owned(&KindLabels { kind });
        }
        Self(family)
    }
}

impl Unreadable {
    /// Handles an event of the watch.
    pub(crate) fn see<K: MaybeUnreadable>(&mut self, event: &Event<K>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                if object.unreadable().is_some() {
                    self.listed.push(key(object));
                }
                self.look(object);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                self.known
                    .retain(|key, _| listed.contains(key));
            }
            Event::Apply(object) => self.look(object),
            Event::Delete(object) => {
                self.known.remove(&key(object));
            }
        }
        self.count
            .set(i64::try_from(self.known.len()).unwrap_or(i64::MAX));
    }

    fn look<K: MaybeUnreadable>(&mut self, object: &K) {
        let Some(field) = object.unreadable() else {
            // Usually there is nothing to look up.
            if !self.known.is_empty()
                && let Some(_) = self.known.remove(&key(object))
            {
                let (namespace, name) = key(object);
                info!(
                    kind = self.kind,
                    namespace, name, "an object can be read again"
                );
            }
            return;
        };
        let (namespace, name) = key(object);
        let known = self
            .known
            .insert((namespace.clone(), name.clone()), field.to_owned());
        if known.as_deref() != Some(field) {
            let field = hide_credentials(field);
            warn!(
                kind = self.kind,
                namespace,
                name,
                %field,
                hint = "correct the field, or run the release that wrote it",
                "an object cannot be read and is ignored"
            );
        }
    }
}

/// A replica that no longer leads counts nothing.
impl Drop for Unreadable {
    fn drop(&mut self) {
        self.count.set(0);
    }
}

/// A sentence about an object that cannot be read, with a hint.
pub(crate) fn why_unreadable(field: &str) -> String {
    format!(
        "this version of agentkube cannot read {} (hint: correct that field, or run the release that wrote it)",
        hide_credentials(field)
    )
}

fn key<K: Resource>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Agent;

    fn agent(name: &str, runtime: &str) -> Readable<Agent> {
        let object =
            json!({"metadata": {"name": name, "namespace": "team"}, "spec": {"runtime": runtime}});
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn each_is_counted_until_it_is_mended_or_gone() {
        let objects = UnreadableObjects::default();
        let mut agents = objects.of("Agent");
        let count = || {
            objects
                .0
                .get_or_create_owned(&KindLabels { kind: "Agent" })
                .get()
        };
        for (event, expected) in [
            (Event::Init, 0),
            (Event::InitApply(agent("a", "Newer")), 1),
            (Event::InitApply(agent("b", "Newer")), 2),
            (Event::InitApply(agent("c", "Codex")), 2),
            (Event::InitDone, 2),
            (Event::Apply(agent("a", "Codex")), 1),
            (Event::Apply(agent("d", "Newer")), 2),
            (Event::Delete(agent("b", "Newer")), 1),
            (Event::Init, 1),
            (Event::InitDone, 0),
            (Event::Apply(agent("a", "Newer")), 1),
        ] {
            agents.see(&event);
            assert_eq!(count(), expected, "{event:?}");
        }
        drop(agents);
        assert_eq!(count(), 0);
    }
}
