//! An Agent or a Tool as the leader remembers it, so that tens of thousands of them fit in little
//! memory: packed, and of its status only what the next one depends on.

use std::{borrow::Cow, marker::PhantomData};

use kube::{Resource, api::ObjectMeta, core::NamespaceResourceScope};
use serde::{Deserialize, Deserializer};

use super::{reconcile::Owner, told::Told};

/// An object that is unpacked to be looked at.
#[derive(Clone, Debug)]
pub(super) struct Kept<K> {
    /// Its name, and what changes without its spec.
    metadata: ObjectMeta,
    /// Labels and spec, as JSON: maps and strings of their own would take three times as much.
    packed: Box<[u8]>,
    /// The Tools that an Agent lists.
    pub(super) tools: Box<[Box<str>]>,
    /// Whether an Agent brings those up.
    pub(super) is_armed: bool,
    /// What its status says.
    pub(super) told: Option<Told>,
    kind: PhantomData<fn() -> K>,
}

impl<K: Owner> Kept<K> {
    /// The object, without its status and with the labels alone of what its metadata says to others.
    ///
    /// # Errors
    ///
    /// None that is known of: what is read here was written by [`Self::from`].
    pub(super) fn object(&self) -> serde_json::Result<K> {
        let mut object: K = serde_json::from_slice(&self.packed)?;
        let metadata = object.meta_mut();
        let labels = metadata.labels.take();
        *metadata = self.metadata.clone();
        metadata.labels = labels;
        Ok(object)
    }
}

impl<K: Owner> From<K> for Kept<K> {
    fn from(mut object: K) -> Self {
        let status = object.status_mut().take();
        let all = std::mem::take(object.meta_mut());
        object.meta_mut().labels = all.labels;
        Self {
            metadata: ObjectMeta {
                name: all.name,
                namespace: all.namespace,
                uid: all.uid,
                generation: all.generation,
                resource_version: all.resource_version,
                deletion_timestamp: all.deletion_timestamp,
                ..ObjectMeta::default()
            },
            // What came as JSON always goes as JSON.
            packed: serde_json::to_vec(&object)
                .unwrap_or_default()
                .into(),
            tools: object.tools().map(Into::into).collect(),
            is_armed: object.is_armed(),
            told: status.as_ref().map(Told::of),
            kind: PhantomData,
        }
    }
}

/// At once as it arrives, so that a list is never held unpacked.
impl<'de, K: Owner> Deserialize<'de> for Kept<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        K::deserialize(deserializer).map(Self::from)
    }
}

impl<K: Resource<DynamicType = ()>> Resource for Kept<K> {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl<K> Kept<K> {
    /// Drops what only the watch reads.
    pub(super) fn trim(&mut self) {
        self.metadata.resource_version = None;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Agent;

    #[test]
    fn what_a_pod_is_made_of_comes_out_as_it_went_in() {
        let whole = json!({
            "apiVersion": "agentkube.io/v1alpha1",
            "kind": "Agent",
            "metadata": {
                "name": "bot", "namespace": "adaptive", "uid": "uid-1", "generation": 3,
                "labels": {"agentkube.io/agentgroup": "team"}, "annotations": {"note": "long"},
                "finalizers": ["example.com/hold"], "deletionTimestamp": "2026-11-22T14:00:00Z",
            },
            "spec": {"runtime": "Codex", "mode": "supervised", "paused": false, "tools": [{"name": "browser"}],
                "resources": {"limits": {"cpu": "1"}}},
            "status": {"phase": "Running"},
        });
        let kept: Kept<Agent> = serde_json::from_value(whole.clone()).unwrap();
        assert_eq!(*kept.tools, ["browser".into()]);
        assert!(kept.is_armed);
        assert!(kept.told.is_some());
        let mut expected = whole;
        expected["metadata"]
            .as_object_mut()
            .unwrap()
            .retain(|name, _| name != "annotations" && name != "finalizers");
        expected
            .as_object_mut()
            .unwrap()
            .remove("status");
        assert_eq!(
            serde_json::to_value(kept.object().unwrap()).unwrap(),
            expected
        );
    }
}
