//! Which pods the validating webhook has to see, in the API server's own words.

use std::{collections::BTreeSet, fmt::Write};

use super::loses_label;
use crate::admission::{Placeholder, Policy, credential};
use crate::{
    api::{IMAGES_ANNOTATION, PodSlotKind},
    images::{MirrorPrefix, Runtime, runtimes},
};

/// Longer lists are not looked through by the API server, which allows an expression only so much
/// work: such a pod comes to the webhook.
const MOST_CONTAINERS: usize = 16;
const MOST_VARIABLES: usize = 128;
const MOST_VOLUMES: usize = 64;
/// With more allowed registries than this, only images below the first ones are told at sight.
const MOST_PREFIXES: usize = 64;

impl Policy {
    /// A CEL expression over `object` and `oldObject`, a pod, as `matchConditions` take it: true for every pod that
    /// [`Webhook::Validate`](super::Webhook::Validate) could refuse, and for some more.
    ///
    /// A pod for which it is false went through [`Webhook::Mutate`](super::Webhook::Mutate), which
    /// wrote down what it did; no placeholder is left in it, each of its images lies below an allowed
    /// registry, no token stands in it as a literal, and it belongs to whom it belonged. Only whether the Agent or Tool that its
    /// labels name exists is taken on trust: mutation has refused it where not, and whoever forges
    /// the record gains nothing but the label.
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

    /// Whether an image is a placeholder, or not at sight below an allowed registry.
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
            // Whoever reads the registration would read it.
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

/// Every token variable of the matrix, once, as a CEL list has them.
fn tokens() -> String {
    runtimes()
        .filter_map(Runtime::token)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|token| format!("'{token}'"))
        .collect::<Vec<_>>()
        .join(", ")
}
