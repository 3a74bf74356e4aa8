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

/// Rewrites default images that are written out, following the settings, and changes nothing else.
/// Pods of Agents and Tools are left alone: there the placeholder decides, and the image of the
/// owner stays verbatim even if it equals a default.
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
