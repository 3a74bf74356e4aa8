//! The match condition that selects the pods for the validating webhook, in CEL.

use std::{collections::BTreeSet, fmt::Write};

use super::loses_label;
use crate::{
    admission::{Placeholder, Policy, credential},
    api::{IMAGES_ANNOTATION, PodSlotKind},
    images::{MirrorPrefix, Runtime, runtimes},
};

/// The longest list that the condition searches, since the API server limits the cost of an
/// expression. A pod with a longer list always goes to the webhook.
const MOST_CONTAINERS: usize = 16;
const MOST_VARIABLES: usize = 128;
const MOST_VOLUMES: usize = 64;
/// The most allowed registries in the condition. Images from later ones always go to the
/// webhook.
const MOST_PREFIXES: usize = 64;

impl Policy {
    /// A CEL expression over `object` and `oldObject`, a pod, for `matchConditions`. It is true for
    /// every pod that [`Webhook::Validate`](super::Webhook::Validate) could refuse, and for some
    /// more.
    ///
    /// If it is false, the pod went through [`Webhook::Mutate`](super::Webhook::Mutate), which
    /// recorded the images. It has no placeholder left and no literal token, all its images are
    /// below an allowed registry, and its owner is unchanged. The existence of the Agent or Tool
    /// that its labels name is not checked again: mutation has checked it, and forging the record
    /// gains nothing but the label.
    #[must_use]
    pub fn validation_match_condition(&self) -> String {
        let mut expression = format!(
            "!has(object.metadata.annotations) || !('{IMAGES_ANNOTATION}' in object.metadata.annotations) || object.spec.containers == null"
        );
        let tokens = tokens();
        for kind in PodSlotKind::ALL {
            let (list, image) = (kind.list(), kind.image());
            let (most, is_suspect) = match kind.within() {
                None => (
                    MOST_CONTAINERS,
                    format!(
                        "!has(c.{image}) || {} || has(c.env) && (c.env.size() > {MOST_VARIABLES} || c.env.exists(e, !has(e.valueFrom) && e.name in [{tokens}]))",
                        self.is_suspect(&format!("c.{image}"))
                    ),
                ),
                Some(within) => (
                    MOST_VOLUMES,
                    format!(
                        "has(c.{within}) && has(c.{within}.{image}) && ({})",
                        self.is_suspect(&format!("c.{within}.{image}"))
                    ),
                ),
            };
            // Writing to a String never fails.
            let _ = write!(
                expression,
                " || has(object.spec.{list}) && (object.spec.{list}.size() > {most} || object.spec.{list}.exists(c, {is_suspect}))"
            );
        }
        let _ = write!(expression, " || oldObject != null && {}", loses_label());
        expression
    }

    /// CEL: the image is a placeholder, or not obviously below an allowed registry.
    fn is_suspect(&self, image: &str) -> String {
        let host = Placeholder::image("");
        let is_placeholder = format!("{image}.startsWith('{host}')");
        if self.allowed_registries.allow_all() {
            return is_placeholder;
        }
        let is_allowed = self
            .allowed_registries
            .iter()
            .map(MirrorPrefix::as_str)
            // A token in a prefix would be readable in the registration.
            .filter(|prefix| credential::shown(prefix) == *prefix)
            .take(MOST_PREFIXES)
            .map(|prefix| format!("{image}.startsWith('{prefix}/')"))
            .collect::<Vec<_>>()
            .join(" || ");
        if is_allowed.is_empty() {
            return "true".to_owned();
        }
        format!("{is_placeholder} || !({is_allowed})")
    }
}

/// The token variables of the matrix, without duplicates, as the items of a CEL list.
fn tokens() -> String {
    runtimes()
        .filter_map(Runtime::token)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|token| format!("'{token}'"))
        .collect::<Vec<_>>()
        .join(", ")
}
