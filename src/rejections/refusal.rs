use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::value::RawValue;

use super::{
    encoded::{self, encoded},
    redact::shown,
    submitted,
    weight::slim,
};
use crate::{
    admission::{Cause, Subject},
    api::{RejectedObject, RejectionCause, RejectionDecision, RejectionSpec},
};

/// The size limit of a Rejection in the API server, in bytes.
pub const LONGEST_REJECTION: usize = 16 * 1024;
/// The part of it reserved for metadata: names, times, and managed fields.
const METADATA: usize = 2 * 1024;
/// The size limit of a name that a user chose, in bytes as stored.
const LONGEST_NAME: usize = 253;
/// The most causes of a Rejection.
const MOST_CAUSES: usize = 16;
/// The size limit of a message, in bytes as stored.
const LONGEST_MESSAGE: usize = 1024;

/// A denial, or a breach of policy that was admitted with a warning.
#[derive(Clone, Debug)]
pub struct Refusal<'a> {
    /// The refused object.
    pub subject: Subject,
    /// The namespace of the object.
    pub namespace: &'a str,
    /// The requested operation: `CREATE` or `UPDATE`.
    pub operation: &'a str,
    /// The requesting user.
    pub user: &'a str,
    /// The decision.
    pub decision: RejectionDecision,
    /// The problems, never empty.
    pub causes: &'a [Cause],
    /// The object as it was submitted.
    pub object: Option<&'a RawValue>,
}

impl Refusal<'_> {
    /// The reason by which it is counted and folded: that of the first cause.
    pub(super) fn reason(&self) -> &'static str {
        self.causes
            .first()
            .map_or("", |cause| cause.reason.as_str())
    }

    /// The record to store, of at most [`LONGEST_REJECTION`] bytes.
    pub(super) fn record(&self, now: Timestamp) -> RejectionSpec {
        let mut record = self.whole(now);
        let is_too_long = |record: &RejectionSpec| encoded(record) > LONGEST_REJECTION - METADATA;
        while record.causes.len() > 1 && is_too_long(&record) {
            record.causes.pop();
        }
        if is_too_long(&record) {
            slim(&mut record);
        }
        record
    }

    fn whole(&self, now: Timestamp) -> RejectionSpec {
        let submitted = self
            .object
            .and_then(submitted::spec_of)
            .unwrap_or_default();
        let first = self.causes.first();
        RejectionSpec {
            object: RejectedObject {
                group: cut(&self.subject.group, LONGEST_NAME),
                kind: cut(&self.subject.kind, LONGEST_NAME),
                name: cut(shown(&self.subject.name), LONGEST_NAME),
            },
            operation: cut(self.operation, LONGEST_NAME),
            user: cut(self.user, LONGEST_NAME),
            decision: self.decision,
            reason: self.reason().to_owned(),
            field: first.map_or_else(String::new, |cause| cut(&cause.field, LONGEST_NAME)),
            message: first.map_or_else(String::new, |cause| {
                cut(&cause.to_string(), LONGEST_MESSAGE)
            }),
            causes: self
                .causes
                .iter()
                .take(MOST_CAUSES)
                .map(|cause| RejectionCause {
                    reason: cause.reason.as_str().to_owned(),
                    field: cut(&cause.field, LONGEST_NAME),
                    message: cut(&cause.message, LONGEST_MESSAGE),
                })
                .collect(),
            submitted: submitted.value,
            submitted_truncated: submitted.is_truncated,
            count: 0,
            first_seen: Time(now),
            last_seen: Time(now),
        }
    }
}

/// The beginning of a text, with a mark if it was cut.
fn cut(text: &str, longest: usize) -> String {
    match encoded::cut(text, longest) {
        (beginning, true) => format!("{beginning}…"),
        (whole, false) => whole.to_owned(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::admission::Reason;

    static CAUSES: LazyLock<Vec<Cause>> = LazyLock::new(|| {
        vec![Cause {
            reason: Reason::ImageRequired,
            field: "spec.image".to_owned(),
            message: "Required value: no default image".to_owned(),
        }]
    });

    /// A denial of an Agent without an image.
    pub(in crate::rejections) fn refusal<'a>(
        namespace: &'a str,
        name: &str,
        user: &'a str,
    ) -> Refusal<'a> {
        Refusal {
            subject: Subject {
                group: "agentkube.io".to_owned(),
                kind: "Agent".to_owned(),
                name: name.to_owned(),
            },
            namespace,
            operation: "CREATE",
            user,
            decision: RejectionDecision::Deny,
            causes: &CAUSES,
            object: None,
        }
    }

    #[test]
    fn the_record_says_what_who_and_why() {
        let object = RawValue::from_string(
            r#"{"metadata":{"name":"bot"},"spec":{"runtime":"Custom"}}"#.to_owned(),
        )
        .unwrap();
        let refusal = Refusal {
            object: Some(&object),
            ..refusal("team", "bot", "alice")
        };
        let record = refusal.record(Timestamp::UNIX_EPOCH);
        assert_eq!(record.object.kind, "Agent");
        assert_eq!(record.reason, "ImageRequired");
        assert_eq!(record.field, "spec.image");
        assert_eq!(
            record.message,
            "spec.image: Required value: no default image"
        );
        assert_eq!(
            record.submitted,
            Some(serde_json::json!({"runtime": "Custom"}))
        );
        assert!(!record.submitted_truncated);
    }

    #[test]
    fn names_that_somebody_else_chose_are_cut() {
        let long = "ü".repeat(1_000);
        let record = refusal("team", &long, &long).record(Timestamp::UNIX_EPOCH);
        let expected = format!("{}…", "ü".repeat(LONGEST_NAME / 2));
        assert_eq!(record.user, expected);
        assert_eq!(record.object.name, expected);
    }

    #[test]
    fn a_rejection_is_counted_in_encoded_bytes_as_a_whole() {
        let hostile = "<\u{1}&".repeat(100_000);
        let causes = vec![
            Cause {
                reason: Reason::ImageRequired,
                field: hostile.clone(),
                message: hostile.clone(),
            };
            100
        ];
        let spec = serde_json::json!({"spec": {"goal": vec![hostile.clone(); 9]}});
        let object = RawValue::from_string(spec.to_string()).unwrap();
        let refusal = Refusal {
            subject: Subject {
                group: hostile.clone(),
                kind: hostile.clone(),
                name: hostile.clone(),
            },
            namespace: "team",
            operation: &hostile,
            user: &hostile,
            decision: RejectionDecision::Deny,
            causes: &causes,
            object: Some(&object),
        };
        let whole = refusal.whole(Timestamp::UNIX_EPOCH);
        assert!(
            encoded(&whole) > LONGEST_REJECTION,
            "the test asks for too little"
        );
        let record = refusal.record(Timestamp::UNIX_EPOCH);
        let bytes = encoded(&record);
        assert!(bytes <= LONGEST_REJECTION - METADATA, "{bytes}");
        assert_eq!(record.reason, "ImageRequired");
        assert!(record.submitted_truncated);

        // Denials of ordinary users are kept whole.
        let causes = vec![causes_of_a_person(); 8];
        let spec = serde_json::json!({"spec": {"goal": "Look after the issues."}});
        let object = RawValue::from_string(spec.to_string()).unwrap();
        let refusal = Refusal {
            causes: &causes,
            object: Some(&object),
            ..self::refusal("team", "bot", "alice")
        };
        let record = refusal.record(Timestamp::UNIX_EPOCH);
        assert_eq!(record.causes.len(), 8);
        assert_eq!(record.submitted, Some(spec["spec"].clone()));
        assert!(!record.submitted_truncated);
    }

    fn causes_of_a_person() -> Cause {
        Cause {
            reason: Reason::ReferenceNotPermitted,
            field: "spec.agentToken.secretRef.name".to_owned(),
            message: "Forbidden: alice may not get the Secret \"claude-code-token\" (hint: ask for the right)"
                .repeat(8),
        }
    }
}
