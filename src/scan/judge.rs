use super::{finding::Severity, object::ScannedObject};
use crate::admission::{
    AuthorRights, Cause, Creation, Decision, Denial, Outcome, Owners, Policy, Review, Wants,
    Webhook, decide,
};

/// The problems that admission would find with an object if it were created now, with their
/// severity. Warnings have a lower one.
pub(super) fn judge<'o>(
    object: &ScannedObject<'_>,
    find: impl FnOnce(Wants<'_>) -> Owners<'o>,
    policy: &Policy,
) -> Vec<(Severity, Cause)> {
    let (group, kind, resource) = object.kind.names();
    let review = Review::of(Creation {
        group,
        kind,
        resource,
        namespace: object.namespace,
        name: object.name,
        object: object.value,
    });
    let Decision {
        outcome,
        warnings: _,
        tolerated,
    } = match review {
        Ok(review) => {
            let owners = find(review.wants(Webhook::Validate));
            decide(
                Webhook::Validate,
                &review,
                owners,
                AuthorRights::Unasked,
                policy,
            )
        }
        Err(denial) => Decision::deny(denial),
    };
    let refused = match outcome {
        // Only mutation depends on one state of an owner.
        Outcome::Allow { .. } | Outcome::Conflict(_) => Vec::new(),
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
