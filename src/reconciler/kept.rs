//! An Agent or a Tool as the leader remembers it: packed, and of its status only what the next one
//! depends on.

use std::borrow::Cow;

use kube::{Resource, api::ObjectMeta, core::NamespaceResourceScope};
use serde::{Deserialize, Deserializer};

use super::{
    packed::{Pack, Packed},
    reconcile::Owner,
    told::Told,
};

/// An object without its status, and what that says.
#[derive(Clone, Debug)]
pub(super) struct Kept<K> {
    packed: Packed<K>,
    /// The Tools that an Agent lists.
    pub(super) tools: Box<[Box<str>]>,
    /// Whether an Agent brings those up.
    pub(super) is_armed: bool,
    /// What its status says.
    pub(super) told: Option<Told>,
}

impl<K: Owner> Pack for K {
    fn trim(&mut self) {
        *self.status_mut() = None;
        let metadata = self.meta_mut();
        metadata.annotations = None;
        metadata.creation_timestamp = None;
        metadata.finalizers = None;
        metadata.managed_fields = None;
        metadata.owner_references = None;
    }
}

impl<K: Owner> Kept<K> {
    /// The object, without its status.
    ///
    /// # Errors
    ///
    /// See [`Packed::unpack`].
    pub(super) fn object(&self) -> serde_json::Result<K> {
        self.packed.unpack()
    }
}

impl<K: Owner> From<K> for Kept<K> {
    fn from(object: K) -> Self {
        Self {
            tools: object.tools().map(Into::into).collect(),
            is_armed: object.is_armed(),
            told: object.status().map(Told::of),
            packed: object.into(),
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
        self.packed.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.packed.meta_mut()
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
