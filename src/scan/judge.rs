use super::{finding::Severity, object::Object};
use crate::admission::{
    Cause, Decision, Denial, Outcome, Owners, Policy, Review, Unreadable, Wants, Webhook,
    create_body, decide,
};

/// What admission would find wrong with an object if it were created now, and how much it matters. What
/// is only warned of matters less.
pub(super) fn judge<'o>(
    object: &Object<'_>,
    find: impl FnOnce(Wants<'_>) -> Owners<'o>,
    policy: &Policy,
) -> Vec<(Severity, Cause)> {
    let body = create_body(
        object.value,
        (object.namespace, object.name),
        object.kind.names(),
    );
    let Decision {
        outcome,
        warnings: _,
        tolerated,
    } = match Review::parse(&body) {
        Ok(review) => {
            let owners = find(review.wants(Webhook::Validate));
            decide(Webhook::Validate, &review, owners, policy)
        }
        Err(Unreadable::Request(request)) => Decision::deny(request.denial),
        // The body is our own.
        Err(Unreadable::Body(_)) => return Vec::new(),
    };
    let refused = match outcome {
        Outcome::Allow { .. } => Vec::new(),
        Outcome::Deny(Denial { causes, .. }) => causes,
    };
    let severity = |cause: &Cause| {
        if cause.reason.is_policy() {
            Severity::High
        } else {
            Severity::Medium
        }
    };
    refused
        .into_iter()
        .map(|cause| (severity(&cause), cause))
        .chain(
            tolerated
                .into_iter()
                .map(|cause| (Severity::Low, cause)),
        )
        .collect()
}
