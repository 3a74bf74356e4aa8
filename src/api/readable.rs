//! Objects that are read one by one, so that an unreadable one does not affect the others.
//!
//! A schema accepts more than a type can hold: another version wrote the object, the schema is of a
//! newer release, or the API server takes a number for an integer that is none.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::{Resource, api::ObjectMeta};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use super::Status;

/// The most characters of a field's path in a message.
const LONGEST_PATH: usize = 253;

/// An object of a list or a watch.
#[derive(Clone, Debug)]
pub(crate) enum Readable<T> {
    /// An object that was read.
    Read(T),
    /// An object that this version cannot read.
    Unread(Box<UnreadableObject>),
}

/// The readable parts of an object that this version cannot read.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnreadableObject {
    /// Only its identity, its owners, and the mark of its deletion.
    pub(crate) metadata: ObjectMeta,
    /// Its status, if it has the form of ours.
    pub(crate) status: Option<Status>,
    /// The path of the unreadable field; never a value, which may be a credential.
    pub(crate) field: String,
}

impl<T> Readable<T> {
    /// The object, if it was read.
    pub(crate) fn read(self) -> Result<T, Box<UnreadableObject>> {
        match self {
            Self::Read(object) => Ok(object),
            Self::Unread(unread) => Err(unread),
        }
    }

    /// A reference to the object, if it was read.
    pub(crate) fn as_read(&self) -> Option<&T> {
        match self {
            Self::Read(object) => Some(object),
            Self::Unread(_) => None,
        }
    }

    /// The field that cannot be read, if any.
    pub(crate) fn unreadable(&self) -> Option<&str> {
        match self {
            Self::Read(_) => None,
            Self::Unread(unread) => Some(&unread.field),
        }
    }
}

impl<T: DeserializeOwned> Readable<T> {
    /// Reads an object; `None` if not even its name can be read.
    pub(crate) fn parse(json: &str) -> Option<Self> {
        if let Ok(object) = serde_json::from_str(json) {
            return Some(Self::Read(object));
        }
        let mut value: Value = serde_json::from_str(json).ok()?;
        let mut field = unreadable_field::<T, _>(&value);
        for mend in [mend_times, drop_managed_fields] {
            if field.is_some() {
                mend(&mut value);
                field = unreadable_field::<T, _>(&value);
            }
        }
        Some(match field {
            None => Self::Read(T::deserialize(value).ok()?),
            Some(field) => Self::Unread(Box::new(UnreadableObject {
                metadata: metadata(&value)?,
                status: value
                    .get("status")
                    .and_then(|status| Status::deserialize(status).ok()),
                field,
            })),
        })
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Readable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(json.get())
            .ok_or_else(|| serde::de::Error::custom("an object has no metadata that could be read"))
    }
}

/// An unreadable object is never written.
impl<T: Serialize> Serialize for Readable<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Read(object) => object.serialize(serializer),
            Self::Unread(unread) => Err(serde::ser::Error::custom(format!(
                "{} could not be read",
                unread.field
            ))),
        }
    }
}

impl<T: Resource> Resource for Readable<T> {
    type DynamicType = T::DynamicType;
    type Scope = T::Scope;

    fn kind(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        T::kind(dynamic)
    }

    fn group(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        T::group(dynamic)
    }

    fn version(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        T::version(dynamic)
    }

    fn plural(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        T::plural(dynamic)
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Read(object) => object.meta(),
            Self::Unread(unread) => &unread.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Read(object) => object.meta_mut(),
            Self::Unread(unread) => &mut unread.metadata,
        }
    }
}

/// The path of the first unreadable field of a value; `None` if the value can be read.
pub(crate) fn unreadable_field<'de, T, D>(source: D) -> Option<String>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let error = serde_path_to_error::deserialize::<D, T>(source).err()?;
    let path = error.path().to_string();
    let path = path.trim_start_matches('.');
    Some(if path.is_empty() {
        "spec".to_owned()
    } else {
        path.chars()
            .take(LONGEST_PATH)
            .collect()
    })
}

/// Removes those times of an object's metadata that this program cannot read, such as the year
/// 10000. Anyone who may write an object chooses the times in its `managedFields`.
fn mend_times(object: &mut Value) {
    let Some(Value::Object(metadata)) = object.get_mut("metadata") else {
        return;
    };
    // The manager of a field is read, but never the time.
    if let Some(Value::Array(entries)) = metadata.get_mut("managedFields") {
        for entry in entries
            .iter_mut()
            .filter_map(Value::as_object_mut)
        {
            entry.remove("time");
        }
    }
    let is_odd = |time: &Value| {
        time.as_str()
            .is_none_or(|time| time.parse::<Timestamp>().is_err())
    };
    if metadata
        .get("creationTimestamp")
        .is_some_and(is_odd)
    {
        metadata.remove("creationTimestamp");
    }
    // Only the fact of the deletion matters, not its time.
    if let Some(time) = metadata.get_mut("deletionTimestamp")
        && !time.is_null()
        && is_odd(time)
    {
        *time = Value::String(Timestamp::UNIX_EPOCH.to_string());
    }
}

/// Removes the part that is only needed for few kinds of objects.
fn drop_managed_fields(object: &mut Value) {
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.remove("managedFields");
    }
}

/// The readable metadata of an unreadable object, after its times were mended.
fn metadata(object: &Value) -> Option<ObjectMeta> {
    let metadata = object.get("metadata")?;
    let text = |name: &str| {
        metadata
            .get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let time = |name: &str| text(name).and_then(|time| Some(Time(time.parse().ok()?)));
    let owners = metadata
        .get("ownerReferences")
        .and_then(|owners| Vec::<OwnerReference>::deserialize(owners).ok());
    Some(ObjectMeta {
        creation_timestamp: time("creationTimestamp"),
        name: Some(text("name")?),
        namespace: text("namespace"),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        generation: metadata
            .get("generation")
            .and_then(Value::as_i64),
        owner_references: owners,
        deletion_timestamp: time("deletionTimestamp"),
        ..ObjectMeta::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::{Agent, Tool};

    fn object(spec: &Value) -> Value {
        json!({
            "apiVersion": "agentkube.io/v1alpha1", "kind": "Agent",
            "metadata": {"name": "bot", "namespace": "team", "uid": "u", "generation": 3, "resourceVersion": "7"},
            "spec": spec,
        })
    }

    fn field<T: DeserializeOwned>(object: &Value) -> String {
        let read: Readable<T> = serde_json::from_value(object.clone()).unwrap();
        read.read()
            .err()
            .map_or_else(String::new, |unread| unread.field)
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_field() {
        for (spec, expected) in [
            (json!({"runtime": "Codex"}), ""),
            (json!({"runtime": "Newer"}), "spec.runtime"),
            (
                json!({"runtime": "Codex", "resources": {"limits": {"cpu": 1.000_000_000_1}}}),
                "spec.resources.limits.cpu",
            ),
            (
                json!({"runtime": "Codex", "tools": [{"name": "a"}, {"name": 5}]}),
                "spec.tools[1].name",
            ),
            (json!({}), "spec"),
        ] {
            assert_eq!(field::<Agent>(&object(&spec)), expected, "{spec}");
        }
        let tool =
            object(&json!({"type": "redis", "probe": {"httpGet": {"port": 3_000_000_000_u64}}}));
        assert_eq!(field::<Tool>(&tool), "spec.probe.httpGet.port");
        let nothing = json!({"metadata": {"name": "bot"}});
        assert_eq!(field::<Agent>(&nothing), "spec");
    }

    #[test]
    fn it_is_still_known_by_its_name_and_state() {
        let mut object = object(&json!({"runtime": "Newer"}));
        object["metadata"]["deletionTimestamp"] = json!("2026-11-22T14:00:00Z");
        object["status"] = json!({"phase": "Failed", "observedGeneration": 3});
        let read: Readable<Agent> = serde_json::from_value(object).unwrap();
        assert_eq!(read.unreadable(), Some("spec.runtime"));
        let metadata = read.meta();
        assert_eq!(metadata.name.as_deref(), Some("bot"));
        assert_eq!(metadata.uid.as_deref(), Some("u"));
        assert_eq!(metadata.generation, Some(3));
        assert_eq!(metadata.resource_version.as_deref(), Some("7"));
        assert!(metadata.deletion_timestamp.is_some());
        let unread = read.read().unwrap_err();
        assert_eq!(
            unread
                .status
                .unwrap()
                .observed_generation,
            Some(3)
        );
        assert!(serde_json::from_value::<Readable<Agent>>(json!({"spec": {}})).is_err());
    }

    #[test]
    fn times_that_nobody_reads_do_not_matter() {
        let mut object = object(&json!({"runtime": "Codex"}));
        object["metadata"]["managedFields"] =
            json!([{"manager": "x", "operation": "Update", "time": "9999-12-31T23:59:59Z"}]);
        assert!(
            Agent::deserialize(&object).is_err(),
            "the test shows nothing"
        );
        assert_eq!(field::<Agent>(&object), "");
        // The manager of its fields is still known.
        let read: Readable<Agent> = serde_json::from_value(object.clone()).unwrap();
        let [entry] = read
            .meta()
            .managed_fields
            .as_deref()
            .unwrap()
        else {
            panic!("one entry");
        };
        assert_eq!(entry.manager.as_deref(), Some("x"));
        // An invalid list of managers is not needed.
        object["metadata"]["managedFields"] = json!("x");
        assert_eq!(field::<Agent>(&object), "");
    }

    #[test]
    fn an_object_from_a_time_that_is_none_here_is_read_all_the_same() {
        for odd in [
            json!("10000-01-01T00:00:00Z"),
            json!("2026-01-01T00:00:00+99:99"),
            json!(7),
        ] {
            let mut object = object(&json!({"runtime": "Codex"}));
            object["metadata"]["creationTimestamp"] = odd.clone();
            object["metadata"]["deletionTimestamp"] = odd;
            let read: Readable<Agent> = serde_json::from_value(object).unwrap();
            let agent = read.read().unwrap();
            assert!(
                agent
                    .metadata
                    .creation_timestamp
                    .is_none()
            );
            assert!(
                agent
                    .metadata
                    .deletion_timestamp
                    .is_some()
            );
        }
    }

    #[test]
    fn a_status_that_another_version_wrote_keeps_nobody_from_reading() {
        let mut object = object(&json!({"runtime": "Codex"}));
        object["status"] = json!({
            "phase": "Newer", "ready": "1/1", "observedGeneration": "x",
            "images": [
                {"container": "a", "component": "NoSuchComponent", "image": "x", "source": "default"},
                {"container": "b", "component": "Codex", "image": "y", "source": "default"},
            ],
            "conditions": [
                {"type": "Accepted", "status": "True", "reason": "A", "message": "", "lastTransitionTime": "2026-01-01T00:00:00+99:99"},
                {"type": "Ready", "status": "True", "reason": "B", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            ],
        });
        let Readable::Read(agent) = serde_json::from_value::<Readable<Agent>>(object).unwrap()
        else {
            panic!("it can be read");
        };
        let status = agent.status.unwrap();
        assert!(status.phase.is_none());
        assert_eq!(status.ready.as_deref(), Some("1/1"));
        assert_eq!(status.observed_generation, None);
        assert_eq!(status.conditions.len(), 1);
        assert_eq!(status.images.len(), 1);
    }

    #[test]
    fn a_path_is_not_longer_than_it_has_to_be() {
        let spec = json!({"runtime": "Codex", "resources": {"limits": {"x".repeat(1000): true}}});
        assert_eq!(
            field::<Agent>(&object(&spec))
                .chars()
                .count(),
            LONGEST_PATH
        );
    }
}
