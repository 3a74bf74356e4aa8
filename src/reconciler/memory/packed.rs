//! Objects as the leader remembers them, so that tens of thousands of them fit in little memory.

use std::{borrow::Cow, fmt::Debug};

use kube::{Resource, api::ObjectMeta, core::NamespaceResourceScope};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

use crate::{
    api::{Readable, UnreadableObject},
    watch::MaybeUnreadable,
};

/// The longest JSON of an object that is kept. An author chooses how large an object is, and all of them
/// together must not take the memory of the one that leads: a larger one is read again when it is looked
/// at.
pub(in crate::reconciler) const LONGEST_KEPT_BYTES: usize = 4 * 1024;

/// What is kept packed.
pub(in crate::reconciler) trait Pack:
    Resource<DynamicType = ()> + DeserializeOwned + Serialize
{
    /// Whether it is kept however long it is, because its author cannot choose that.
    const IS_ALWAYS_KEPT: bool;

    /// What is wanted of it without unpacking it.
    type Summary: Clone + Debug + Default;

    fn summary(&self) -> Self::Summary;

    /// What is known in brief of an object that cannot be read.
    fn summary_of_unreadable(unread: &UnreadableObject) -> Self::Summary;

    /// Drops what is not read; a brief has been taken before.
    fn trim(&mut self);
}

/// An object that is unpacked to be looked at.
#[derive(Clone, Debug)]
pub(in crate::reconciler) struct Packed<T: Pack> {
    /// Without its maps.
    metadata: ObjectMeta,
    /// The rest as JSON: maps, lists and strings of their own would take three times as much. Empty where
    /// it would be longer than [`LONGEST_KEPT_BYTES`].
    json: Box<[u8]>,
    pub(in crate::reconciler) summary: T::Summary,
    /// The field that keeps it from being read; there is no JSON then.
    unreadable: Option<Box<str>>,
}

impl<T: Pack> Packed<T> {
    /// The object, trimmed.
    ///
    /// # Errors
    ///
    /// Where the object could not be read when it arrived. Otherwise none that is known of: what is read
    /// here was written by [`Self::from`].
    ///
    /// Not to be called where [`Self::is_kept`] says no.
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

    /// Whether the object itself is here, and not only what is known of it in brief.
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
        // What came as JSON always goes as JSON.
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

/// At once as it arrives, so that a list is never held unpacked.
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
