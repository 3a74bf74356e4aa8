//! The audit trail of decisions: a count of each, and a log line and a record of each violation.

use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::{
    admission::{Decision, DecisionKind, Outcome, Review, Subject, UnreadableRequest, Webhook},
    api::RejectionDecision,
    rejections::{Recorder, Refusal, shown},
    telemetry::{ImageDecisionLabels, Metrics, ReviewLabels},
};

/// Counts, logs and records decisions.
pub(in crate::server) struct AuditTrail {
    metrics: Metrics,
    recorder: Arc<Recorder>,
}

/// The fields of a request that the trail records.
pub(in crate::server) struct Asked<'r> {
    uid: &'r str,
    operation: &'r str,
    /// The kind, from a closed set.
    kind: &'static str,
    namespace: &'r str,
    subject: Subject,
    user: &'r str,
    is_dry_run: bool,
    object: Option<&'r RawValue>,
}

impl AuditTrail {
    pub(in crate::server) fn new(metrics: Metrics, recorder: Arc<Recorder>) -> Self {
        Self { metrics, recorder }
    }

    /// Leaves the trail of a decision. A violation is one log line, which has every detail but repeats
    /// no content of the object.
    pub(in crate::server) fn leave(
        &self,
        webhook: Webhook,
        asked: &Asked<'_>,
        decision: &Decision,
        start: Instant,
    ) {
        if let Outcome::Allow { images, .. } = &decision.outcome {
            for image in images {
                self.metrics
                    .image_decision(&ImageDecisionLabels {
                        component: image.component.as_str(),
                        source: image.source.as_str(),
                    });
            }
        }
        let (kind, causes) = (decision.kind(), decision.causes());
        let first = causes.first();
        self.metrics.review(&ReviewLabels {
            webhook: webhook.as_str(),
            kind: asked.kind,
            operation: match asked.operation {
                "CREATE" => "CREATE",
                "UPDATE" => "UPDATE",
                _ => "other",
            },
            decision: kind.as_str(),
            reason: first.map_or("", |cause| cause.reason.as_str()),
        });
        let recorded = match kind {
            DecisionKind::Allow | DecisionKind::Conflict => return,
            DecisionKind::Deny => RejectionDecision::Deny,
            DecisionKind::Warn => RejectionDecision::Warn,
        };
        let Some(first) = first else { return };
        tracing::info!(
            uid = asked.uid,
            webhook = webhook.as_str(),
            operation = asked.operation,
            kind = asked.kind,
            namespace = asked.namespace,
            name = shown(&asked.subject.name),
            user = asked.user,
            dry_run = asked.is_dry_run,
            reason = first.reason.as_str(),
            field = first.field,
            causes = causes.len(),
            duration_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX),
            "{}",
            match recorded {
                RejectionDecision::Deny => "denied",
                RejectionDecision::Warn => "admitted with a warning",
            }
        );
        // An admitted object passes both webhooks; only the decision of the last one is final.
        let is_final = recorded == RejectionDecision::Deny || webhook == Webhook::Validate;
        if is_final && !asked.is_dry_run {
            self.recorder.record(&Refusal {
                subject: asked.subject.clone(),
                namespace: asked.namespace,
                operation: asked.operation,
                user: asked.user,
                decision: recorded,
                causes,
                object: asked.object,
            });
        }
    }
}

impl<'r> From<&'r Review<'r>> for Asked<'r> {
    fn from(review: &'r Review<'r>) -> Self {
        Self {
            uid: review.uid(),
            operation: review.operation(),
            kind: review.kind(),
            namespace: review.namespace(),
            subject: review.subject(),
            user: review.user(),
            is_dry_run: review.is_dry_run(),
            object: review.object(),
        }
    }
}

impl<'r> From<&'r UnreadableRequest> for Asked<'r> {
    fn from(request: &'r UnreadableRequest) -> Self {
        Self {
            uid: &request.uid,
            operation: &request.operation,
            kind: "other",
            namespace: &request.namespace,
            subject: request.denial.subject.clone(),
            user: &request.user,
            is_dry_run: request.is_dry_run,
            object: None,
        }
    }
}
