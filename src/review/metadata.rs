//! `metadata`, which the API server judges by code and not by a schema
//! (`k8s.io/apimachinery/pkg/api/validation`).

use serde_json::{Value, json};

use super::cause::Cause;
use crate::admission::names;

/// The members that an API server knows.
const KNOWN: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// What the API server wipes from an object that is created.
const WIPED: [&str; 6] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "managedFields",
    "selfLink",
    "uid",
];

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', \
regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric \
characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue', \
 or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must \
start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used \
for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// The most that the annotations of an object may hold, names and values together, in bytes.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// The name of an object, or the beginning of the one that it is to get.
pub(super) fn name(object: &Value) -> &str {
    ["/metadata/name", "/metadata/generateName"]
        .into_iter()
        .filter_map(|pointer| object.pointer(pointer)?.as_str())
        .find(|name| !name.is_empty())
        .unwrap_or_default()
}

/// The namespace that an object names.
pub(super) fn namespace(object: &Value) -> Option<&str> {
    object
        .pointer("/metadata/namespace")?
        .as_str()
        .filter(|namespace| !namespace.is_empty())
}

/// Makes of `metadata` what the API server makes of it where an object is created.
pub(super) fn prepare(object: &mut Value, namespace: &str) {
    let Some(object) = object.as_object_mut() else {
        return;
    };
    let metadata = object
        .entry("metadata")
        .or_insert(Value::Null);
    if metadata.is_null() {
        *metadata = json!({});
    }
    if let Some(metadata) = metadata.as_object_mut() {
        for member in WIPED {
            metadata.remove(member);
        }
        metadata.retain(|_, value| !value.is_null());
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
}

/// Paths of the members that no API server knows, in their order.
pub(super) fn unknown_fields(object: &Value) -> Vec<String> {
    object
        .get("metadata")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(name, _)| !KNOWN.contains(&name.as_str()))
        .map(|(name, _)| format!("metadata.{name}"))
        .collect()
}

/// The first member of the wrong type, with what it should be: such an object cannot be decoded.
pub(super) fn undecodable(object: &Value) -> Option<(String, &'static str)> {
    let metadata = object.get("metadata")?;
    if metadata.is_null() {
        return None;
    }
    let Some(metadata) = metadata.as_object() else {
        return Some(("metadata".to_owned(), "an object"));
    };
    let is_text = |value: &Value| value.is_string() || value.is_null();
    for member in ["name", "generateName", "namespace"] {
        if metadata
            .get(member)
            .is_some_and(|value| !is_text(value))
        {
            return Some((format!("metadata.{member}"), "a string"));
        }
    }
    for member in ["labels", "annotations"] {
        let Some(entries) = metadata.get(member) else {
            continue;
        };
        match entries {
            Value::Null => {}
            Value::Object(entries) => {
                if let Some((name, _)) = entries
                    .iter()
                    .find(|(_, value)| !is_text(value))
                {
                    return Some((
                        format!("metadata.{member}[{name}]"),
                        "a string (hint: write it in quotes)",
                    ));
                }
            }
            _ => return Some((format!("metadata.{member}"), "an object")),
        }
    }
    let finalizers = metadata.get("finalizers")?;
    let is_list = finalizers
        .as_array()
        .is_some_and(|items| items.iter().all(is_text));
    (!is_list && !finalizers.is_null())
        .then(|| ("metadata.finalizers".to_owned(), "a list of strings"))
}

/// Finds what is wrong with the metadata of an Agent or a Tool that is created.
pub(super) fn judge(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = name(object);
    if name.is_empty() {
        causes.push(Cause::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else if !names::is_subdomain(name.trim_end_matches(|c| generated(object) && c == '-')) {
        let detail = if name.len() > 253 {
            "must be no more than 253 bytes"
        } else {
            SUBDOMAIN
        };
        causes.push(Cause::invalid("metadata.name", Some(&json!(name)), detail));
    }
    let namespace = namespace(object).unwrap_or_default();
    if namespace.contains('.') || !names::is_subdomain(namespace) || namespace.len() > 63 {
        causes.push(Cause::invalid(
            "metadata.namespace",
            Some(&json!(namespace)),
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
             and must start and end with an alphanumeric character",
        ));
    }
    for (name, value) in entries(object, "labels") {
        if !is_qualified_name(name) {
            causes.push(Cause::invalid(
                "metadata.labels",
                Some(&json!(name)),
                NAME_PART,
            ));
        }
        if !is_label_value(value) {
            causes.push(Cause::invalid(
                "metadata.labels",
                Some(&json!(value)),
                LABEL_VALUE,
            ));
        }
    }
    let mut size = 0;
    for (name, value) in entries(object, "annotations") {
        size += name.len() + value.len();
        // Unlike the names of labels, these may be of any case.
        if !is_qualified_name(&name.to_lowercase()) {
            causes.push(Cause::invalid(
                "metadata.annotations",
                Some(&json!(name)),
                NAME_PART,
            ));
        }
    }
    if size > ANNOTATIONS_LIMIT {
        causes.push(Cause {
            field: "metadata.annotations".to_owned(),
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {ANNOTATIONS_LIMIT} bytes"),
        });
    }
    for finalizer in object
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !is_qualified_name(finalizer) {
            causes.push(Cause::invalid(
                "metadata.finalizers",
                Some(&json!(finalizer)),
                NAME_PART,
            ));
        }
    }
    causes
}

fn generated(object: &Value) -> bool {
    object
        .pointer("/metadata/name")
        .is_none()
}

fn entries<'a>(object: &'a Value, member: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    object
        .get("metadata")
        .and_then(|metadata| metadata.get(member))
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()))
}

fn is_qualified_name(name: &str) -> bool {
    let (prefix, part) = match name.rsplit_once('/') {
        Some((prefix, part)) => (Some(prefix), part),
        None => (None, name),
    };
    prefix.is_none_or(names::is_subdomain) && !part.is_empty() && is_label_value(part)
}

fn is_label_value(value: &str) -> bool {
    let bytes = value.as_bytes();
    let is_edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    value.len() <= 63
        && is_edge(bytes.first())
        && is_edge(bytes.last())
        && bytes
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}
