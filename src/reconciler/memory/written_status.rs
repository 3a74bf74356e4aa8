//! The last written status, reduced to what decides the next one.

use std::hash::{DefaultHasher, Hasher};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::{ConditionType, Status};

/// The possible values of a condition's status.
const ANSWERS: [&str; 3] = ["True", "False", "Unknown"];

/// A written status without its messages and images, a tenth of its size.
#[derive(Clone, Debug)]
pub(in crate::reconciler) struct WrittenStatus {
    /// A digest of the whole status. A changed status with the same digest (one of 2^64) would be
    /// written with the next change.
    digest: u64,
    conditions: Box<[WrittenCondition]>,
    /// The reason of the condition `Ready`.
    ready_reason: Option<Box<str>>,
}

#[derive(Clone, Debug)]
struct WrittenCondition {
    type_: ConditionType,
    status: &'static str,
    since: Timestamp,
}

impl WrittenStatus {
    pub(in crate::reconciler) fn of(status: &Status) -> Self {
        Self {
            digest: digest(status),
            conditions: status
                .conditions
                .iter()
                .filter_map(WrittenCondition::of)
                .collect(),
            ready_reason: status
                .conditions
                .iter()
                .find(|condition| condition.type_ == ConditionType::Ready.as_str())
                .map(|ready| ready.reason.as_str().into()),
        }
    }

    /// True if this is the digest of `status`.
    pub(in crate::reconciler) fn is(&self, status: &Status) -> bool {
        self.digest == digest(status)
    }

    /// The time since which a condition has this status, if it has it.
    pub(in crate::reconciler) fn since(
        &self,
        type_: ConditionType,
        status: &str,
    ) -> Option<Timestamp> {
        self.conditions
            .iter()
            .find(|condition| condition.type_ == type_ && condition.status == status)
            .map(|condition| condition.since)
    }

    pub(in crate::reconciler) fn was_ready(&self) -> bool {
        self.since(ConditionType::Ready, "True")
            .is_some()
    }

    pub(in crate::reconciler) fn ready_reason(&self) -> Option<&str> {
        self.ready_reason.as_deref()
    }
}

impl WrittenCondition {
    /// `None` for a condition of another controller.
    fn of(condition: &Condition) -> Option<Self> {
        let type_ = ConditionType::ALL
            .into_iter()
            .find(|type_| type_.as_str() == condition.type_)?;
        let status = ANSWERS
            .into_iter()
            .find(|answer| *answer == condition.status)?;
        Some(Self {
            type_,
            status,
            since: condition.last_transition_time.0,
        })
    }
}

fn digest(status: &Status) -> u64 {
    let mut hasher = DefaultHasher::new();
    // Strings and numbers always serialize.
    hasher.write(&serde_json::to_vec(status).unwrap_or_default());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(ready: &str, message: &str) -> Status {
        let condition = |type_: &str, status: &str, message: &str| {
            json!({"type": type_, "status": status, "reason": "PodReady", "message": message,
                "lastTransitionTime": "2026-11-22T14:00:00Z"})
        };
        serde_json::from_value(json!({
            "phase": "Running",
            "conditions": [condition("Else", "Maybe", ""), condition("Ready", ready, message)],
        }))
        .unwrap()
    }

    #[test]
    fn every_word_counts() {
        let written = WrittenStatus::of(&status("True", "it runs"));
        assert!(written.is(&status("True", "it runs")));
        assert!(!written.is(&status("True", "it ran")));
        assert!(!written.is(&Status::default()));
    }

    #[test]
    fn a_condition_is_remembered_with_its_time() {
        let written = WrittenStatus::of(&status("True", ""));
        let since = Some("2026-11-22T14:00:00Z".parse().unwrap());
        assert_eq!(written.since(ConditionType::Ready, "True"), since);
        assert_eq!(written.since(ConditionType::Ready, "False"), None);
        assert_eq!(written.since(ConditionType::Accepted, "True"), None);
        assert!(written.was_ready());
        assert!(!WrittenStatus::of(&status("False", "")).was_ready());
        assert_eq!(written.ready_reason(), Some("PodReady"));
        assert_eq!(WrittenStatus::of(&Status::default()).ready_reason(), None);
    }
}
