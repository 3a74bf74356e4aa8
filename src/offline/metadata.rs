//! Validation of `metadata`, which the API server does in code and not by a schema
//! (`k8s.io/apimachinery/pkg/api/validation`).

use serde_json::{Value, json};

use super::output::cause::ReviewCause;
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

/// The members that the API server removes from a new object.
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
characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
'MyValue',  or 'my_value',  or '12345', regex used for validation is \
'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must \
start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used \
for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// The size limit of all annotations of an object, names and values together, in bytes.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// The number of characters of `generateName` that the API server uses.
const GENERATED_BASE: usize = 58;

/// The name of an object, or the prefix for a generated one.
pub(super) fn name(object: &Value) -> &str {
    ["name", "generateName"]
        .into_iter()
        .find_map(|member| text(object, member))
        .unwrap_or_default()
}

/// The namespace that an object names.
pub(super) fn namespace(object: &Value) -> Option<&str> {
    text(object, "namespace")
}

fn text<'a>(object: &'a Value, member: &str) -> Option<&'a str> {
    object
        .get("metadata")?
        .get(member)?
        .as_str()
        .filter(|text| !text.is_empty())
}

/// Changes `metadata` as the API server does for a new object.
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
        let is_named = metadata
            .get("name")
            .is_some_and(|name| name != "");
        if let Some(base) = metadata
            .get("generateName")
            .and_then(Value::as_str)
            .filter(|base| !base.is_empty() && !is_named)
        {
            // The API server appends five random characters to this part.
            let base: String = base
                .chars()
                .take(GENERATED_BASE)
                .collect();
            metadata.insert("name".to_owned(), json!(format!("{base}xxxxx")));
        }
    }
}

/// The paths of members that no API server knows, in their order.
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

/// The first member of the wrong type, and the error of Go's decoder.
pub(super) fn undecodable(object: &Value) -> Option<(String, String)> {
    let metadata = object.get("metadata")?;
    let found = |value: &Value| match value {
        Value::Null => None,
        Value::Bool(_) => Some("bool"),
        Value::Number(_) => Some("number"),
        Value::String(_) => Some("string"),
        Value::Array(_) => Some("array"),
        Value::Object(_) => Some("object"),
    };
    let says = |value: &Value, target: &str, wanted: &str| {
        let found = found(value)?;
        Some(format!(
            "json: cannot unmarshal {found} into Go {target} of type {wanted}"
        ))
    };
    if !metadata.is_object() {
        let says = says(metadata, "value", "v1.ObjectMeta")?;
        return Some(("metadata".to_owned(), says));
    }
    let members = |names: &'static [&'static str]| {
        names
            .iter()
            .filter_map(|name| Some((*name, metadata.get(name)?)))
    };
    let texts = members(&["name", "generateName", "namespace"])
        .filter(|(_, value)| !value.is_string())
        .map(|(name, value)| (name, value, "string"));
    let maps = members(&["labels", "annotations"]).flat_map(|(name, value)| match value {
        Value::Object(entries) => entries
            .values()
            .filter(|value| !value.is_string())
            .map(|value| (name, value, "string"))
            .collect(),
        _ => vec![(name, value, "map[string]string")],
    });
    let lists = members(&["finalizers"]).flat_map(|(name, value)| match value {
        Value::Array(items) => items
            .iter()
            .filter(|value| !value.is_string())
            .map(|value| (name, value, "string"))
            .collect(),
        _ => vec![(name, value, "[]string")],
    });
    texts
        .chain(maps)
        .chain(lists)
        .find_map(|(name, value, wanted)| {
            let target = format!("struct field ObjectMeta.{name}");
            Some((format!("metadata.{name}"), says(value, &target, wanted)?))
        })
}

/// Finds the problems in the metadata of a new Agent or Tool.
pub(super) fn judge(object: &Value) -> Vec<ReviewCause> {
    let mut causes = Vec::new();
    let name = name(object);
    if name.is_empty() {
        causes.push(ReviewCause::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else if !names::is_subdomain(name) {
        let detail = if name.len() > 253 {
            "must be no more than 253 bytes"
        } else {
            SUBDOMAIN
        };
        causes.push(ReviewCause::invalid(
            "metadata.name",
            Some(&json!(name)),
            detail,
        ));
    }
    let namespace = namespace(object).unwrap_or_default();
    if namespace.contains('.') || !names::is_subdomain(namespace) || namespace.len() > 63 {
        causes.push(ReviewCause::invalid(
            "metadata.namespace",
            Some(&json!(namespace)),
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
             and must start and end with an alphanumeric character",
        ));
    }
    for (name, value) in entries(object, "labels") {
        if !is_qualified_name(name) {
            causes.push(ReviewCause::invalid(
                "metadata.labels",
                Some(&json!(name)),
                NAME_PART,
            ));
        }
        if !is_label_value(value) {
            causes.push(ReviewCause::invalid(
                "metadata.labels",
                Some(&json!(value)),
                LABEL_VALUE,
            ));
        }
    }
    let mut size = 0;
    for (name, value) in entries(object, "annotations") {
        size += name.len() + value.len();
        // These names may be of any case, unlike those of labels.
        if !is_qualified_name(&name.to_lowercase()) {
            causes.push(ReviewCause::invalid(
                "metadata.annotations",
                Some(&json!(name)),
                NAME_PART,
            ));
        }
    }
    if size > ANNOTATIONS_LIMIT {
        causes.push(ReviewCause {
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
            causes.push(ReviewCause::invalid(
                "metadata.finalizers",
                Some(&json!(finalizer)),
                NAME_PART,
            ));
        }
    }
    causes
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(metadata: &Value) -> Vec<String> {
        let mut object = json!({"metadata": metadata});
        prepare(&mut object, "ns");
        judge(&object)
            .into_iter()
            .map(|cause| cause.field)
            .collect()
    }

    #[test]
    fn names_and_labels_are_those_that_kubernetes_takes() {
        let long = "a".repeat(64);
        assert_eq!(
            fields(&json!({"name": "a.b-c", "labels": {"x.io/y": "Z_1"}})),
            [""; 0]
        );
        assert_eq!(fields(&json!({"generateName": "a-"})), [""; 0]);
        assert_eq!(fields(&json!({})), ["metadata.name"]);
        assert_eq!(fields(&json!({"name": "A"})), ["metadata.name"]);
        for labels in [json!({"a b": "x"}), json!({"/x": "x"}), json!({"x": long})] {
            assert_eq!(
                fields(&json!({"name": "a", "labels": labels})),
                ["metadata.labels"]
            );
        }
        let large = json!({"x": "y".repeat(ANNOTATIONS_LIMIT)});
        assert_eq!(
            fields(&json!({"name": "a", "annotations": large})),
            ["metadata.annotations"]
        );
    }

    #[test]
    fn what_cannot_be_decoded_is_said_as_go_says_it() {
        let says = |metadata: Value| {
            undecodable(&json!({"metadata": metadata}))
                .map(|(field, says)| format!("{field}: {says}"))
        };
        assert_eq!(says(json!({"name": "a", "labels": null})), None);
        assert_eq!(
            says(json!({"labels": {"a": 5}})).unwrap(),
            "metadata.labels: json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string"
        );
        assert_eq!(
            says(json!([])).unwrap(),
            "metadata: json: cannot unmarshal array into Go value of type v1.ObjectMeta"
        );
    }
}
