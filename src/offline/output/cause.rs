use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::admission::{self, looks_like_credential};

/// One problem with one field, as in a `Status` of the API server.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ReviewCause {
    /// The path of the field: `spec.runtime`.
    pub field: String,
    /// The kind of problem: a reason of the webhooks or of the API server.
    pub reason: &'static str,
    /// The problem, in words.
    pub message: String,
}

impl From<&admission::Cause> for ReviewCause {
    fn from(cause: &admission::Cause) -> Self {
        Self {
            field: cause.field.clone(),
            reason: cause.reason.as_str(),
            message: cause.message.clone(),
        }
    }
}

/// The forms that Kubernetes gives a field error (`k8s.io/apimachinery/pkg/util/validation/field`).
impl ReviewCause {
    /// A field of the wrong type. `found` is the type that it has.
    pub(in crate::offline) fn wrong_type(
        field: &(impl fmt::Display + ?Sized),
        wanted: &str,
        found: &str,
    ) -> Self {
        Self {
            field: field.to_string(),
            reason: "FieldValueTypeInvalid",
            message: format!(
                "Invalid value: {found:?}: {}must be of type {wanted}: {found:?}",
                in_body(field)
            ),
        }
    }

    pub(in crate::offline) fn required(field: &(impl fmt::Display + ?Sized), detail: &str) -> Self {
        Self {
            field: field.to_string(),
            reason: "FieldValueRequired",
            message: form("Required value", None, detail),
        }
    }

    pub(in crate::offline) fn unsupported(
        field: &(impl fmt::Display + ?Sized),
        value: &Value,
        supported: &[Value],
    ) -> Self {
        let supported = supported
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        Self {
            field: field.to_string(),
            reason: "FieldValueNotSupported",
            message: form(
                "Unsupported value",
                Some(&shown(value)),
                &format!("supported values: {supported}"),
            ),
        }
    }

    pub(in crate::offline) fn too_long(field: &(impl fmt::Display + ?Sized), most: i64) -> Self {
        let unit = if most == 1 { "byte" } else { "bytes" };
        Self {
            field: field.to_string(),
            reason: "FieldValueTooLong",
            message: form(
                "Too long",
                None,
                &format!("may not be more than {most} {unit}"),
            ),
        }
    }

    pub(in crate::offline) fn too_many(
        field: &(impl fmt::Display + ?Sized),
        found: usize,
        most: i64,
    ) -> Self {
        let unit = if most == 1 { "item" } else { "items" };
        Self {
            field: field.to_string(),
            reason: "FieldValueTooMany",
            message: form(
                "Too many",
                Some(&found.to_string()),
                &format!("must have at most {most} {unit}"),
            ),
        }
    }

    /// A value that breaks a rule of the schema: `should match '…'`.
    pub(in crate::offline) fn against_schema(
        field: &(impl fmt::Display + ?Sized),
        value: &Value,
        rule: &str,
    ) -> Self {
        Self::invalid(field, Some(value), &format!("{}{rule}", in_body(field)))
    }

    /// A wrong value; `None` if it is too large to be shown.
    pub(in crate::offline) fn invalid(
        field: &(impl fmt::Display + ?Sized),
        value: Option<&Value>,
        detail: &str,
    ) -> Self {
        Self {
            field: field.to_string(),
            reason: "FieldValueInvalid",
            message: form("Invalid value", value.map(shown).as_deref(), detail),
        }
    }

    pub(in crate::offline) fn forbidden(
        field: &(impl fmt::Display + ?Sized),
        detail: &str,
    ) -> Self {
        Self {
            field: field.to_string(),
            reason: "FieldValueForbidden",
            message: form("Forbidden", None, detail),
        }
    }

    /// True if the API server skips CEL rules because of such a problem.
    pub(in crate::offline) fn blocks_rules(&self) -> bool {
        matches!(
            self.reason,
            "FieldValueNotSupported"
                | "FieldValueRequired"
                | "FieldValueTooLong"
                | "FieldValueTooMany"
                | "FieldValueTypeInvalid"
        )
    }
}

/// A value for a message, with credentials hidden.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if looks_like_credential(&text) {
        "(not shown: it looks like a credential)".to_owned()
    } else {
        text
    }
}

fn in_body(field: &(impl fmt::Display + ?Sized)) -> String {
    format!("{field} in body ")
}

fn form(kind: &str, value: Option<&str>, detail: &str) -> String {
    let mut message = kind.to_owned();
    for part in value
        .into_iter()
        .chain(Some(detail).filter(|detail| !detail.is_empty()))
    {
        message.push_str(": ");
        message.push_str(part);
    }
    message
}
