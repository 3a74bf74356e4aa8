use std::{cmp::Ordering, fmt};

use serde::{Serialize, Serializer};

use super::object::{ScannedKind, ScannedObject};
use crate::admission::{Cause, Reason};

/// A live object that does not match the current configuration.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScanFinding {
    /// The kind of problem, in one word.
    pub category: Category,
    /// The severity.
    pub severity: Severity,
    /// Kind of the object.
    pub kind: ScannedKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its `metadata.uid`.
    pub uid: String,
    /// The reason for the refusal, if admission would refuse the object.
    #[serde(serialize_with = "reason")]
    pub reason: Option<Reason>,
    /// The path of the field: `spec.containers[0].image`.
    pub field: String,
    /// The problem, and a hint on how to solve it.
    pub message: String,
}

/// The kinds of problems of live objects, the most serious first.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) enum Category {
    /// Admission would refuse the object now, though it may have been valid when it was created: an
    /// image is outside the allowed registries, a token is written as a literal, or the Agent or
    /// the Tool that a pod's label names is gone. Only those pods are judged that are sent to the
    /// webhook: pods with a label of an Agent or a Tool, or with a placeholder. If users are given,
    /// also an Agent or a Tool that one of them may not write, for lack of a right to an object
    /// that it names.
    Refused,
    /// A container or image volume of a pod has another image than admission recorded for it.
    /// References are compared in full, so two spellings of one image are equal. Another webhook
    /// may have changed the image after the decision, or a user later; neither is necessarily
    /// wrong.
    Differs,
    /// An Agent or a Tool breaks a rule that is not a policy, or a pod without a record names an
    /// Agent or a Tool that does not exist. Admission refuses such an object, so it was created
    /// while the webhook was not in force. Also a pod with a label of an Agent or a Tool whose
    /// images nobody chose: none is a placeholder, and no decision is recorded. Admission leaves no
    /// record on a pod that carries the label and names all of its images itself. It is a finding
    /// all the same, since the label claims that an Agent's or a Tool's images run there.
    EnteredUnjudged,
    /// An Agent or a Tool has named a Secret, a ConfigMap or a ServiceAccount since before the API
    /// server itself checked references, or it does not check them. The webhooks may have checked
    /// this one, if they were in force.
    Unasked,
    /// An image of any pod is still a placeholder: the pod was created while the webhook was not in
    /// force, or is not sent to it. It cannot be pulled.
    Placeholder,
    /// The decision that was recorded on a pod is not that of the current rules: the settings, its
    /// Agent or its Tool have changed since. The same image by another rule is not a change. For an
    /// Agent's own pod this is the condition `ImagesCurrent`.
    Outdated,
}

impl Category {
    /// Every category, the most serious first.
    pub(crate) const ALL: [Self; 6] = [
        Self::Refused,
        Self::Differs,
        Self::EnteredUnjudged,
        Self::Unasked,
        Self::Placeholder,
        Self::Outdated,
    ];

    /// The word in tables and documents.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Differs => "Differs",
            Self::EnteredUnjudged => "EnteredUnjudged",
            Self::Outdated => "Outdated",
            Self::Placeholder => "Placeholder",
            Self::Refused => "Refused",
            Self::Unasked => "Unasked",
        }
    }

    /// The meaning, as the end of a sentence about an object.
    #[must_use]
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Differs => "runs another image than was recorded",
            Self::EnteredUnjudged => "was admitted without being judged",
            Self::Outdated => "would get other images today",
            Self::Placeholder => "has a placeholder that was never replaced",
            Self::Refused => "would be refused today",
            Self::Unasked => "names objects that the API server did not check",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The severity of a finding. The highest comes first.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// An object runs, or names, what it must not.
    High,
    /// An object does not work, or escapes the rules.
    Medium,
    /// Nothing is in danger: a pod is outdated, or the policy only warns.
    Low,
}

impl Severity {
    /// The word in tables and documents.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

impl ScanFinding {
    pub(super) fn new(
        object: &ScannedObject<'_>,
        category: Category,
        severity: Severity,
        field: impl Into<String>,
        message: String,
    ) -> Self {
        Self {
            category,
            severity,
            kind: object.kind,
            namespace: object.namespace.to_owned(),
            name: object.name.to_owned(),
            uid: object.uid().to_owned(),
            reason: None,
            field: field.into(),
            message,
        }
    }

    pub(super) fn of_cause(
        object: &ScannedObject<'_>,
        category: Category,
        severity: Severity,
        cause: Cause,
    ) -> Self {
        let Cause {
            reason,
            field,
            message,
        } = cause;
        Self {
            reason: Some(reason),
            ..Self::new(object, category, severity, field, message)
        }
    }

    /// The order of findings in a list. The serialized members have another order.
    fn place(&self) -> impl Ord {
        let Self {
            category,
            severity,
            kind,
            namespace,
            name,
            uid,
            reason,
            field,
            message,
        } = self;
        (
            category, severity, namespace, kind, name, field, message, uid, reason,
        )
    }
}

impl Ord for ScanFinding {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl PartialOrd for ScanFinding {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for this signature"
)]
fn reason<S: Serializer>(reason: &Option<Reason>, serializer: S) -> Result<S::Ok, S::Error> {
    reason
        .map(Reason::as_str)
        .serialize(serializer)
}
