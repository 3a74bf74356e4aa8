//! What is different between two states of an object, in a few lines.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    judge::controller,
    parts::{images, references},
};

/// What of an Agent or a Tool is worth a word.
pub(super) fn visible(object: &Value) -> Value {
    let mut seen = serde_json::Map::new();
    for member in [
        "deletionTimestamp",
        "finalizers",
        "generation",
        "ownerReferences",
        "uid",
    ] {
        if let Some(value) = object
            .get("metadata")
            .and_then(|metadata| metadata.get(member))
        {
            seen.insert(member.to_owned(), value.clone());
        }
    }
    let spec = object.get("spec").cloned();
    seen.insert("spec".to_owned(), spec.unwrap_or_default());
    Value::Object(seen)
}

/// What of a pod is worth a word.
pub(super) fn visible_pod(pod: &Value) -> Value {
    let metadata = |pointer: &str| {
        pod.pointer(&format!("/metadata/{pointer}"))
            .cloned()
            .unwrap_or_default()
    };
    let controller = controller(pod).map(|(kind, uid)| format!("{} {uid}", kind.word()));
    let images: BTreeMap<_, _> = images(pod).into_iter().collect();
    let generation = ["agent", "tool"]
        .map(|kind| metadata(&format!("annotations/agentkube.io~1{kind}-generation")))
        .into_iter()
        .find(|generation| !generation.is_null());
    let mut seen = json!({
        "controller": controller,
        "images": images,
        "labels": {
            "agentkube.io/agent": metadata("labels/agentkube.io~1agent"),
            "agentkube.io/tool": metadata("labels/agentkube.io~1tool"),
        },
        "named generation": generation,
        "references": references(pod),
    });
    if let Some(members) = seen.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    seen
}

/// What is different, a line each: `spec.image: "a" -> "b"`.
pub(super) fn changes(before: &Value, after: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", before, after, &mut found);
    found
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<String>) {
    if before == after {
        return;
    }
    if let (Value::Object(before), Value::Object(after)) = (before, after) {
        let names: BTreeSet<_> = before
            .keys()
            .chain(after.keys())
            .collect();
        for name in names {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            let get = |object: &serde_json::Map<String, Value>| {
                object
                    .get(name)
                    .cloned()
                    .unwrap_or_default()
            };
            compare(&path, &get(before), &get(after), found);
        }
        return;
    }
    // The members of what is new stand apart.
    if let (Value::Null, Value::Object(after)) = (before, after)
        && ["", "images", "labels", "spec"].contains(&path)
    {
        let nothing = after
            .keys()
            .map(|name| (name.clone(), Value::Null));
        compare(
            path,
            &Value::Object(nothing.collect()),
            &Value::Object(after.clone()),
            found,
        );
        return;
    }
    found.push(if before.is_null() {
        format!("{path}: {after}")
    } else {
        format!("{path}: {before} -> {after}")
    });
}
