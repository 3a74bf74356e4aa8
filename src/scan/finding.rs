use std::{cmp::Ordering, fmt};

use serde::{Serialize, Serializer};

use super::object::{ScannedKind, ScannedObject};
use crate::admission::{Cause, Reason};

/// Something that is not as today's configuration would have it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScanFinding {
    /// What is wrong, in one word.
    pub category: Category,
    /// How much it matters.
    pub severity: Severity,
    /// Kind of the object.
    pub kind: ScannedKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its `metadata.uid`.
    pub uid: String,
    /// The reason of the refusal, where admission would refuse it.
    #[serde(serialize_with = "reason")]
    pub reason: Option<Reason>,
    /// Path of the field: `spec.containers[0].image`.
    pub field: String,
    /// What is wrong with it, and a hint on what to do.
    pub message: String,
}

/// What can be wrong with a live object, the gravest first.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) enum Category {
    /// Admission would refuse the object now, though it may have been right when it entered: an image is
    /// outside the allowed registries, a token is in plain sight, or the Agent or the Tool that a pod is
    /// labelled with is gone. Of pods, those are judged that come to the webhook: labelled as an Agent's
    /// or a Tool's, or with a placeholder. Also, where users are named, an Agent or a Tool that one of
    /// them may not write as it is, for want of a right to what it names.
    Refused,
    /// A container or image volume of a pod has an image other than the one that admission recorded
    /// for it. References are compared in full, so two spellings of one image are one. Another webhook
    /// may have changed it after the decision, or somebody in place; neither has to be wrong.
    Differs,
    /// An Agent or a Tool breaks a rule that is no policy, or a pod names an Agent or a Tool that does
    /// not exist and carries no record: admission refuses such an object, so it entered while the
    /// webhook was away. Also a pod labelled as an Agent's or a Tool's with images that nobody chose:
    /// none is a placeholder, and no decision is recorded. Admission records none either for a pod that
    /// carries the label and names all of its images itself; it is a finding all the same, since the
    /// label says whose images run there.
    EnteredUnjudged,
    /// An Agent or a Tool names a Secret, a ConfigMap or a ServiceAccount since before the API server
    /// itself asked about that, or it does not ask. The webhooks may have asked, if they were there.
    Unasked,
    /// An image of a pod, of whosever pod, is still a placeholder: the pod entered while the webhook was
    /// away or does not come to it, and can pull nothing.
    Placeholder,
    /// The decision that was recorded on a pod is not what the rules answer now: the settings, its Agent
    /// or its Tool have changed since. The same image by another rule is no change. For an Agent's own
    /// pod this is the condition `ImagesCurrent`.
    Outdated,
}

impl Category {
    /// Every category, the gravest first.
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

    /// What it says of an object, as the end of a sentence about it.
    #[must_use]
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Differs => "runs something else than was recorded",
            Self::EnteredUnjudged => "was let in without being judged",
            Self::Outdated => "would be given other images today",
            Self::Placeholder => "has an image that was never filled in",
            Self::Refused => "would be refused today",
            Self::Unasked => "names what the API server did not ask about",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How much a finding matters; what matters most comes first.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Something runs, or is named, that must not be.
    High,
    /// Something does not work, or escapes the rules.
    Medium,
    /// Nothing is in danger: what runs is behind, or the admin chose to be warned only.
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

    /// Where it stands in a list. Programs read the members in another order.
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
