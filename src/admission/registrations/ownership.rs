//! The policy that keeps a pod's owner from being changed.
//!
//! The webhooks see pods that are created and updated. Updates of a pod's status are not sent to
//! them, because each heartbeat of a kubelet would be one, and such an update can change labels. So
//! the API server itself ensures that our labels are immutable, and that they are only added by
//! requests that the webhooks see. This holds while no replica answers, too.
//! where the webhooks see it. It holds while they are away, too.

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, ValidatingAdmissionPolicySpec, Validation,
};

use super::{admission_policy::matches, loses_label};
use crate::{
    admission::AdmissionPolicy,
    api::{AGENT_LABEL, TOOL_LABEL},
};

/// The name of the policy, and of its binding.
pub const OWNERSHIP_POLICY: &str = "agentkube-pod-ownership";

/// Every way to change the labels of a pod.
const RESOURCES: [&str; 4] = [
    "pods",
    "pods/ephemeralcontainers",
    "pods/resize",
    "pods/status",
];

/// The policy that keeps a pod's owner from being changed.
#[must_use]
pub fn ownership_policy() -> AdmissionPolicy {
    let labels = format!("['{AGENT_LABEL}', '{TOOL_LABEL}']");
    let has =
        |object: &str| format!("(has({object}.metadata.labels) && l in {object}.metadata.labels)");
    let (had, has) = (has("oldObject"), has("object"));
    let invalid = |expression: String, message: String| Validation {
        expression,
        message: Some(message),
        reason: Some("Invalid".to_owned()),
        ..Validation::default()
    };
    let stays = invalid(
        format!("!({})", loses_label()),
        format!(
            "metadata.labels: Invalid value: {AGENT_LABEL} and {TOOL_LABEL} of a pod are immutable \
             (hint: delete the pod, and create another one)"
        ),
    );
    let is_seen = invalid(
        format!(
            "request.subResource in ['', 'ephemeralcontainers']\n\
             || {labels}.all(l, !{has} || {had})"
        ),
        format!(
            "metadata.labels: Invalid value: {AGENT_LABEL} and {TOOL_LABEL} cannot be added to a pod through \
             its status (hint: create the pod with them)"
        ),
    );
    AdmissionPolicy::new(
        OWNERSHIP_POLICY,
        "so that the labels that name a pod's owner can be changed through its status",
        ValidatingAdmissionPolicySpec {
            match_conditions: Some(vec![MatchCondition {
                name: "belongs-to-somebody".to_owned(),
                expression: format!("{labels}.exists(l, {had} || {has})"),
            }]),
            match_constraints: Some(matches(("", "v1"), &RESOURCES, &["UPDATE"])),
            validations: Some(vec![stays, is_seen]),
            ..ValidatingAdmissionPolicySpec::default()
        },
    )
}
