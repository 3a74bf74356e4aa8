//! Compact objects, so that the leader can hold tens of thousands of them.

use std::{borrow::Cow, fmt::Debug};

use kube::{Resource, api::ObjectMeta, core::NamespaceResourceScope};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

use crate::{
    api::{Readable, UnreadableObject},
    watch::MaybeUnreadable,
};

/// The longest JSON of an object in memory. Authors choose the size of their objects, which must
/// not exhaust the leader's memory. A larger object is read again when it is reconciled.
pub(in crate::reconciler) const LONGEST_KEPT_BYTES: usize = 4 * 1024;

/// An object that can be packed.
pub(in crate::reconciler) trait Pack:
    Resource<DynamicType = ()> + DeserializeOwned + Serialize
{
    /// True if it is kept at any length, because its author cannot choose the length.
    const IS_ALWAYS_KEPT: bool;

    /// The part that is needed without unpacking.
    type Summary: Clone + Debug + Default;

    fn summary(&self) -> Self::Summary;

    /// The summary of an object that cannot be read.
    fn summary_of_unreadable(unread: &UnreadableObject) -> Self::Summary;

    /// Drops the fields that are not needed. The summary is taken before.
    fn trim(&mut self);
}

/// A packed object.
#[derive(Clone, Debug)]
pub(in crate::reconciler) struct Packed<T: Pack> {
    /// The metadata without its maps.
    metadata: ObjectMeta,
    /// The rest as JSON, a third of the size of maps, lists and strings. Empty if it would be
    /// longer than [`LONGEST_KEPT_BYTES`].
    json: Box<[u8]>,
    pub(in crate::reconciler) summary: T::Summary,
    /// The field that cannot be read. Then there is no JSON.
    unreadable: Option<Box<str>>,
}

impl<T: Pack> Packed<T> {
    /// The object, trimmed.
    ///
    /// # Errors
    ///
    /// Fails if the object could not be read when it arrived. No other error is known, since the
    /// JSON was written by [`Self::from`].
    ///
    /// Must not be called if [`Self::is_kept`] is false.
    pub(in crate::reconciler) fn unpack(&self) -> serde_json::Result<T> {
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

    /// True if the object itself is here, and not only its summary.
    pub(in crate::reconciler) fn is_kept(&self) -> bool {
        !self.json.is_empty()
    }
}

impl<T: Pack> From<T> for Packed<T> {
    fn from(mut object: T) -> Self {
        let summary = object.summary();
        object.trim();
        let metadata = object.meta_mut();
        let mut all = std::mem::take(metadata);
        metadata.labels = all.labels.take();
        metadata.annotations = all.annotations.take();
        // An object that came as JSON always serializes to JSON.
        let json = serde_json::to_vec(&object)
            .ok()
            .filter(|json| json.len() <= LONGEST_KEPT_BYTES || T::IS_ALWAYS_KEPT);
        Self {
            metadata: all,
            json: json.unwrap_or_default().into(),
            summary,
            unreadable: None,
        }
    }
}

/// Packs an object while it is deserialized, so that a list is never held unpacked.
impl<'de, T: Pack> Deserialize<'de> for Packed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Readable::<T>::deserialize(deserializer).map(|object| match object.read() {
            Ok(object) => Self::from(object),
            Err(unread) => Self::from(*unread),
        })
    }
}

impl<T: Pack> From<UnreadableObject> for Packed<T> {
    fn from(unread: UnreadableObject) -> Self {
        let summary = T::summary_of_unreadable(&unread);
        let UnreadableObject {
            metadata,
            status: _,
            field,
        } = unread;
        Self {
            metadata,
            json: Box::default(),
            summary,
            unreadable: Some(field.into()),
        }
    }
}

impl<T: Pack> MaybeUnreadable for Packed<T> {
    fn unreadable(&self) -> Option<&str> {
        self.unreadable.as_deref()
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
