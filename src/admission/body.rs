use serde::Serialize;
use serde_json::{Value, json};

use super::review::API_VERSION;

/// Writes the body of a review that asks about the creation of an object, as an API server sends it:
/// for decisions without one. `kind` is `(group, kind, resource)`: `("", "Pod", "pods")`.
#[must_use]
pub fn create_body(
    object: &Value,
    (namespace, name): (&str, &str),
    kind: (&str, &str, &str),
) -> Vec<u8> {
    let (group, kind, resource) = kind;
    let request = Request {
        uid: "review",
        kind: json!({"group": group, "kind": kind}),
        resource: json!({"group": group, "resource": resource}),
        name,
        namespace,
        operation: "CREATE",
        object,
    };
    let envelope = Envelope {
        api_version: API_VERSION,
        kind: "AdmissionReview",
        request,
    };
    // Strings, numbers and lists always serialize.
    serde_json::to_vec(&envelope).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    api_version: &'a str,
    kind: &'a str,
    request: Request<'a>,
}

/// Borrowed, so that the object is written and never copied.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    uid: &'a str,
    kind: Value,
    resource: Value,
    name: &'a str,
    namespace: &'a str,
    operation: &'a str,
    object: &'a Value,
}
