use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::images::{Component, Resolution, Source};

/// Which image one container runs, and the rule that chose it.
///
/// Recorded by admission in the pod's annotation [`super::IMAGES_ANNOTATION`], and shown in the
/// status of Agents and Tools.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ImageDecision {
    /// Name of the container, or of the volume.
    #[schemars(length(max = 253))]
    pub container: String,
    /// The component whose image it is.
    #[schemars(with = "String", length(max = 253))]
    pub component: Component,
    /// The image reference, verbatim as the pod carries it.
    #[schemars(length(max = 1024))]
    pub image: String,
    /// The rule that chose it.
    pub source: Source,
    /// The variable that the rule read, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub variable: Option<String>,
}

impl ImageDecision {
    /// The most decisions of a status.
    pub(crate) const MOST: usize = 64;

    /// True if a status can hold it.
    pub(crate) fn fits(&self) -> bool {
        const NAME: usize = 253;
        const IMAGE: usize = 1024;
        let length = |text: &str| text.chars().count();
        length(&self.container) <= NAME
            && length(&self.image) <= IMAGE
            && self
                .variable
                .as_deref()
                .is_none_or(|name| length(name) <= NAME)
    }

    /// Records the resolved image of `container`.
    #[must_use]
    pub fn new(container: &str, resolution: Resolution) -> Self {
        Self {
            container: container.to_owned(),
            component: resolution.component,
            image: resolution.image.into(),
            source: resolution.source,
            variable: resolution.variable.map(str::to_owned),
        }
    }
}
