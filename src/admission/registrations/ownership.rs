//! The policy that keeps whose a pod is.
//!
//! The webhooks see pods that are created and updated. What goes by way of a pod's status does not come
//! to them, because each heartbeat of a kubelet would, and labels can be changed with it. So the API
//! server itself holds that a label of ours stays as it is once it is there, and that it is put on only
//! where the webhooks see it. It holds while they are away, too.

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, ValidatingAdmissionPolicySpec, Validation,
};

use super::{admission_policy::matches, loses_label};
use crate::admission::AdmissionPolicy;
use crate::api::{AGENT_LABEL, TOOL_LABEL};

/// The name of the policy, and of its binding.
pub const OWNERSHIP_POLICY: &str = "agentkube-pod-ownership";

/// Every way to change the labels of a pod.
const RESOURCES: [&str; 4] = [
    "pods",
    "pods/ephemeralcontainers",
    "pods/resize",
    "pods/status",
];

/// The policy that keeps whose a pod is.
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
            "metadata.labels: Invalid value: {AGENT_LABEL} and {TOOL_LABEL} cannot be put on a pod by way of \
             its status (hint: create the pod with them)"
        ),
    );
    AdmissionPolicy::new(
        OWNERSHIP_POLICY,
        "so that the labels that say whose a pod is can be changed by way of its status",
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
