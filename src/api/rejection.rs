#![expect(clippy::duplicated_attributes, reason = "columns of a table are alike")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What was refused, beside where it would have been: the audit trail of admission.
///
/// Repeats of the same object, user and reason are folded into one. The manager writes and deletes
/// Rejections; nobody else is given the right to.
#[derive(Clone, CustomResource, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "agentkube.io",
    version = "v1alpha1",
    kind = "Rejection",
    namespaced,
    shortname = "rej",
    doc = "An object that admission refused, and why",
    derive = "PartialEq",
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.object.kind"),
    printcolumn(name = "Name", type_ = "string", json_path = ".spec.object.name"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(name = "User", type_ = "string", json_path = ".spec.user"),
    printcolumn(name = "Count", type_ = "integer", json_path = ".spec.count"),
    printcolumn(name = "Last-Seen", type_ = "date", json_path = ".spec.lastSeen"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".spec.message",
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct RejectionSpec {
    /// What was refused.
    pub object: RejectedObject,
    /// What was asked for: CREATE or UPDATE.
    #[schemars(length(max = 63))]
    pub operation: String,
    /// Who asked, as the API server authenticated them.
    #[schemars(length(max = 1024))]
    pub user: String,
    /// What became of it.
    pub decision: RejectionDecision,
    /// Why: the first of the causes' reasons.
    #[schemars(length(max = 253))]
    pub reason: String,
    /// The field that the first cause is about.
    #[schemars(length(max = 1024))]
    pub field: String,
    /// The sentence that the user was shown.
    #[schemars(length(max = 32768))]
    pub message: String,
    /// Every problem, in the order of the object's fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub causes: Vec<RejectionCause>,
    /// The spec as it was submitted, credentials redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub submitted: Option<Value>,
    /// Whether the submitted spec was too long to be kept whole.
    #[serde(default)]
    pub submitted_truncated: bool,
    /// How many times it was refused.
    #[schemars(range(min = 1))]
    pub count: i64,
    /// When it was refused first.
    #[schemars(length(max = 64))]
    pub first_seen: Time,
    /// When it was refused last.
    #[schemars(length(max = 64))]
    pub last_seen: Time,
}

/// The object that was refused.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct RejectedObject {
    /// API group; empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub group: String,
    /// Kind.
    #[schemars(length(max = 1024))]
    pub kind: String,
    /// Name, or `metadata.generateName` where it was to be generated.
    #[schemars(length(max = 1024))]
    pub name: String,
}

/// What became of an object that broke a rule.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RejectionDecision {
    /// It was refused.
    Deny,
    /// It was admitted with a warning, because `AGENTKUBE_ENFORCEMENT` is `warn`.
    Warn,
}

impl RejectionDecision {
    /// The value of `spec.decision`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Warn => "warn",
        }
    }
}

/// One problem with one field.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct RejectionCause {
    /// Why it is refused.
    #[schemars(length(max = 253))]
    pub reason: String,
    /// Path of the field.
    #[schemars(length(max = 1024))]
    pub field: String,
    /// What is wrong, and what to do.
    #[schemars(length(max = 32768))]
    pub message: String,
}

/// The spec of the object in any form, since a refused spec may have any. It is written as a whole,
/// or the API server would store the path of each of its fields beside it.
fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "x-kubernetes-preserve-unknown-fields": true,
    })
}
