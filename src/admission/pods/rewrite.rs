use serde_json::json;

use super::{
    mutate::{Mutation, record},
    owner::OwnerKind,
    view::{PodScope, PodView},
};
use crate::{
    admission::{Policy, change::Change},
    api::ImageDecision,
    images::rewrite_default,
};

/// Moves the default images that somebody wrote out to where the levers say, and touches nothing
/// else. The pod of an Agent or Tool is not concerned: there the placeholder decides, and the image
/// of its owner stays verbatim even when it equals a default.
pub(in crate::admission) fn rewrite_defaults(
    pod: &Change<PodView<'_>>,
    scope: PodScope,
    policy: &Policy,
) -> Mutation {
    let mut mutation = Mutation::default();
    let has_owner = OwnerKind::ALL
        .into_iter()
        .any(|kind| pod.owner(kind).is_some());
    if has_owner {
        return mutation;
    }
    let view = &pod.new;
    for slot in view.slots(scope) {
        let Some(image) = slot.image else { continue };
        let rewritten = rewrite_default(image, &policy.images);
        if let Some(resolution) = rewritten.filter(|resolution| resolution.image.as_str() != image)
        {
            mutation
                .patch
                .add(slot.image_path(), json!(resolution.image.as_str()));
            mutation
                .images
                .push(ImageDecision::new(slot.name, resolution));
        }
    }
    if scope != PodScope::Ephemeral && !mutation.images.is_empty() {
        record(view, &mutation.images, &mut mutation.patch);
    }
    mutation
}
