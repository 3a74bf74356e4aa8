use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;

use crate::admission::{Decision, Denial, Outcome, Subject, credential, review::API_VERSION};

/// Writes the `AdmissionReview` that answers a request.
///
/// Patch and patch type come together or not at all, and a denial has a whole `Status`: an API
/// server turns anything less into an error of its own. The audit annotations repeat the decision
/// for the API server's audit log, which prefixes them with the name of the webhook.
#[must_use]
pub fn answer(uid: &str, decision: &Decision) -> Vec<u8> {
    let message;
    let mut response = Response {
        uid,
        audit_annotations: Some(AuditAnnotations::of(decision)),
        warnings: &decision.warnings,
        ..Response::default()
    };
    match &decision.outcome {
        Outcome::Allow { patch, .. } => {
            response.allowed = true;
            if !patch.is_empty() {
                let patch = serde_json::to_vec(patch.operations()).unwrap_or_default();
                response.patch = Some(STANDARD.encode(patch));
                response.patch_type = Some("JSONPatch");
            }
        }
        Outcome::Conflict(conflict) => {
            message = conflict.message();
            response.status = Some(Status {
                status: "Failure",
                code: 409,
                reason: "Conflict",
                message: &message,
                details: details(&conflict.subject),
            });
        }
        Outcome::Deny(denial) => {
            message = denial.message();
            response.status = Some(refusal(&message, denial));
        }
    }
    write(response)
}

/// Writes the answer to a request that cannot be decided now. The caller may try again.
#[must_use]
pub fn unavailable(uid: &str, message: &str) -> Vec<u8> {
    let status = Status {
        status: "Failure",
        code: 503,
        reason: "ServiceUnavailable",
        message,
        details: Details {
            retry_after_seconds: Some(1),
            ..Details::default()
        },
    };
    write(Response {
        uid,
        status: Some(status),
        ..Response::default()
    })
}

/// The `Status` of a denial. Client libraries recognize 422 with reason `Invalid` and 403 with
/// reason `Forbidden`.
fn refusal<'a>(message: &'a str, denial: &'a Denial) -> Status<'a> {
    let causes = denial
        .causes
        .iter()
        .map(|cause| StatusCause {
            reason: cause.reason.as_str(),
            field: &cause.field,
            message: &cause.message,
        })
        .collect();
    Status {
        status: "Failure",
        code: denial.code(),
        reason: denial.status_reason(),
        message,
        details: Details {
            causes,
            ..details(&denial.subject)
        },
    }
}

fn details(subject: &Subject) -> Details<'_> {
    Details {
        group: &subject.group,
        kind: &subject.kind,
        name: credential::shown(&subject.name),
        ..Details::default()
    }
}

fn write(response: Response<'_>) -> Vec<u8> {
    let review = AnswerEnvelope {
        api_version: API_VERSION,
        kind: "AdmissionReview",
        response,
    };
    // Strings, numbers and lists always serialize.
    serde_json::to_vec(&review).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AnswerEnvelope<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_annotations: Option<AuditAnnotations>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
}

/// The annotations for the API server's audit log.
#[derive(Serialize)]
struct AuditAnnotations {
    /// `allow`, `conflict`, `warn` or `deny`.
    decision: &'static str,
    /// The reason of the first cause, if a rule was broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// The images that were set and the rules that chose them, as recorded on the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<String>,
}

impl AuditAnnotations {
    fn of(decision: &Decision) -> Self {
        let images = match &decision.outcome {
            // A list of plain strings always serializes.
            Outcome::Allow { images, .. } if !images.is_empty() => {
                Some(serde_json::to_string(images).unwrap_or_default())
            }
            _ => None,
        };
        Self {
            decision: decision.kind().as_str(),
            reason: decision
                .causes()
                .first()
                .map(|cause| cause.reason.as_str()),
            images,
        }
    }
}

#[derive(Serialize)]
#[expect(
    clippy::struct_field_names,
    reason = "a Status of Kubernetes has a member `status`"
)]
struct Status<'a> {
    status: &'static str,
    code: u16,
    reason: &'static str,
    message: &'a str,
    details: Details<'a>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Details<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<StatusCause<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u32>,
}

#[derive(Serialize)]
struct StatusCause<'a> {
    reason: &'static str,
    message: &'a str,
    field: &'a str,
}
