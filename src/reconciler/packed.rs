//! Objects as the leader remembers them, so that tens of thousands of them fit in little memory.

use std::{borrow::Cow, fmt::Debug};

use kube::{Resource, api::ObjectMeta, core::NamespaceResourceScope};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

/// What is kept packed.
pub(super) trait Pack: Resource<DynamicType = ()> + DeserializeOwned + Serialize {
    /// What is wanted of it without unpacking it.
    type Brief: Clone + Debug;

    fn brief(&self) -> Self::Brief;

    /// Drops what is not read; a brief has been taken before.
    fn trim(&mut self);
}

/// An object that is unpacked to be looked at.
#[derive(Clone, Debug)]
pub(super) struct Packed<T: Pack> {
    /// Without its maps.
    metadata: ObjectMeta,
    /// The rest as JSON: maps, lists and strings of their own would take three times as much.
    json: Box<[u8]>,
    pub(super) brief: T::Brief,
}

impl<T: Pack> Packed<T> {
    /// The object, trimmed.
    ///
    /// # Errors
    ///
    /// None that is known of: what is read here was written by [`Self::from`].
    pub(super) fn unpack(&self) -> serde_json::Result<T> {
        let mut object: T = serde_json::from_slice(&self.json)?;
        let metadata = object.meta_mut();
        let packed = std::mem::take(metadata);
        *metadata = ObjectMeta {
            labels: packed.labels,
            annotations: packed.annotations,
            ..self.metadata.clone()
        };
        Ok(object)
    }
}

impl<T: Pack> From<T> for Packed<T> {
    fn from(mut object: T) -> Self {
        let brief = object.brief();
        object.trim();
        let metadata = object.meta_mut();
        let mut all = std::mem::take(metadata);
        metadata.labels = all.labels.take();
        metadata.annotations = all.annotations.take();
        Self {
            metadata: all,
            // What came as JSON always goes as JSON.
            json: serde_json::to_vec(&object)
                .unwrap_or_default()
                .into(),
            brief,
        }
    }
}

/// At once as it arrives, so that a list is never held unpacked.
impl<'de, T: Pack> Deserialize<'de> for Packed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

impl<T: Pack> Resource for Packed<T> {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        T::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        T::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        T::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        T::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
