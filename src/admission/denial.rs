use std::fmt::{self, Write as _};

use super::{Policy, Reason, credential};

/// A refusal, with every problem that was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Denial {
    /// The refused object.
    pub subject: Subject,
    /// The problems, in the order of the object's fields; never empty.
    pub causes: Vec<Cause>,
}

/// The object that a review is about, as `details` names it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Subject {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name, or `metadata.generateName` if the API server has yet to generate the name.
    pub name: String,
}

/// One problem with one field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cause {
    /// The reason for the refusal.
    pub reason: Reason,
    /// Path of the field: `spec.containers[0].image`.
    pub field: String,
    /// The problem, worded like a field error of Kubernetes, and a hint on how to solve it.
    pub message: String,
}

impl Denial {
    /// The HTTP status of the denial. Client libraries recognize 422 with reason `Invalid` and 403
    /// with reason `Forbidden`.
    #[must_use]
    pub fn code(&self) -> u16 {
        if self.is_forbidden() { 403 } else { 422 }
    }

    /// The reason that goes with [`Denial::code`].
    #[must_use]
    pub fn status_reason(&self) -> &'static str {
        if self.is_forbidden() {
            "Forbidden"
        } else {
            "Invalid"
        }
    }

    /// The sentence for `status.message`: subject and causes, worded like an `Invalid` error of
    /// Kubernetes.
    #[must_use]
    pub fn message(&self) -> String {
        let mut causes = self
            .causes
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        let causes = if causes.len() == 1 {
            causes.remove(0)
        } else {
            format!("[{}]", causes.join(", "))
        };
        let verdict = if self.is_forbidden() {
            "forbidden"
        } else {
            "invalid"
        };
        format!("{} is {verdict}: {causes}", self.subject)
    }

    /// True if all causes are policy (403) and none is an invalid value (422).
    #[must_use]
    pub(crate) fn is_forbidden(&self) -> bool {
        self.causes
            .iter()
            .all(|cause| cause.reason.is_forbidden())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.kind)?;
        if !self.group.is_empty() {
            write!(formatter, ".{}", self.group)?;
        }
        write!(formatter, " {}", credential::quote(&self.name))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.field, self.message)
    }
}

/// The forms that Kubernetes gives a field error (`k8s.io/apimachinery/pkg/util/validation/field`).
impl Cause {
    /// A field that must be set.
    pub(super) fn required(reason: Reason, field: impl Into<String>, detail: &str) -> Self {
        let message = format!("Required value: {detail}");
        Self {
            reason,
            field: field.into(),
            message,
        }
    }

    /// A field whose value is wrong. The value is quoted unless it looks like a credential.
    pub(super) fn invalid(
        reason: Reason,
        field: impl Into<String>,
        value: &str,
        detail: &str,
    ) -> Self {
        let message = format!("Invalid value: {}: {detail}", credential::quote(value));
        Self {
            reason,
            field: field.into(),
            message,
        }
    }

    /// A field with too many bytes.
    pub(super) fn too_long(reason: Reason, field: impl Into<String>, most: usize) -> Self {
        let message = format!("Too long: may not be more than {most} bytes");
        Self {
            reason,
            field: field.into(),
            message,
        }
    }

    /// A field that this version cannot read, whatever its value.
    pub(super) fn unreadable(field: impl Into<String>, detail: &str) -> Self {
        Self {
            reason: Reason::Unreadable,
            field: field.into(),
            message: format!("Invalid value: {detail}"),
        }
    }

    /// A field with an unsupported value.
    pub(super) fn unsupported<'a>(
        reason: Reason,
        field: impl Into<String>,
        value: &str,
        supported: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let supported = supported
            .into_iter()
            .map(|word| format!("{word:?}"))
            .collect::<Vec<_>>()
            .join(", ");
        let message = format!("Unsupported value: {value}: supported values: {supported}");
        Self {
            reason,
            field: field.into(),
            message,
        }
    }

    /// A field with a value that is not allowed here.
    pub(super) fn forbidden(reason: Reason, field: impl Into<String>, detail: &str) -> Self {
        let message = format!("Forbidden: {detail}");
        Self {
            reason,
            field: field.into(),
            message,
        }
    }

    /// An image outside the allowed registries; `rule` is the rule that chose it.
    pub(super) fn registry_not_allowed(
        field: impl Into<String>,
        image: &str,
        rule: &str,
        policy: &Policy,
    ) -> Self {
        let detail = format!(
            "{} (chosen by {rule}) is outside the allowed registries: {}",
            credential::quote(image),
            policy.allowed_registries
        );
        Self::forbidden(Reason::RegistryNotAllowed, field, &detail).hint(
            "use an image under one of them, or ask a cluster administrator to allow its registry",
        )
    }

    /// A field that names an object that does not exist.
    pub(super) fn not_found(reason: Reason, field: impl Into<String>, value: &str) -> Self {
        let message = format!("Not found: {}", credential::quote(value));
        Self {
            reason,
            field: field.into(),
            message,
        }
    }

    /// Adds a hint for the reader.
    #[must_use]
    pub(super) fn hint(mut self, hint: &str) -> Self {
        // Writing to a String cannot fail.
        let _ = write!(self.message, " (hint: {hint})");
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_the_subject_and_every_cause() {
        let cause = Cause::required(Reason::ImageRequired, "spec.image", "no default image")
            .hint("set spec.image");
        let mut denial = Denial {
            subject: Subject {
                group: "agentkube.io".into(),
                kind: "Agent".into(),
                name: "bad".into(),
            },
            causes: vec![cause.clone()],
        };
        assert_eq!(
            denial.message(),
            r#"Agent.agentkube.io "bad" is invalid: spec.image: Required value: no default image (hint: set spec.image)"#
        );
        denial.causes.push(cause);
        assert!(
            denial
                .message()
                .contains("invalid: [spec.image: Required")
        );
    }
}
