//! An Agent or a Tool as the leader remembers it, so that tens of thousands of them fit in little
//! memory: what pods are made of, and of the status only what the next one depends on.

use std::borrow::Cow;

use kube::{
    Resource,
    api::ObjectMeta,
    core::{NamespaceResourceScope, object::HasStatus},
};
use serde::{Deserialize, Deserializer};

use super::told::Told;
use crate::api::Status;

/// An object without its status, and what that told.
#[derive(Clone, Debug)]
pub(super) struct Kept<K> {
    pub(super) object: K,
    pub(super) told: Option<Told>,
}

impl<K: HasStatus<Status = Status>> From<K> for Kept<K> {
    fn from(mut object: K) -> Self {
        let status = object.status_mut().take();
        Self {
            told: status.as_ref().map(Told::of),
            object,
        }
    }
}

/// At once as it arrives: a list is never held with all its statuses.
impl<'de, K> Deserialize<'de> for Kept<K>
where
    K: Deserialize<'de> + HasStatus<Status = Status>,
{
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
        self.object.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.object.meta_mut()
    }
}

impl<K: Resource> Kept<K> {
    /// Drops what is not read: together these are often larger than the rest.
    pub(super) fn trim(&mut self) {
        let metadata = self.object.meta_mut();
        metadata.annotations = None;
        metadata.finalizers = None;
        metadata.managed_fields = None;
        metadata.owner_references = None;
        metadata.resource_version = None;
    }
}
