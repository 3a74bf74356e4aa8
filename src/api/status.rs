use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ImageDecision, lenient};

/// What is seen of an Agent or a Tool.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Where it stands, in one word.
    #[serde(
        default,
        deserialize_with = "lenient::field",
        skip_serializing_if = "Option::is_none"
    )]
    pub phase: Option<Phase>,
    /// Ready pods of wanted pods: `1/1`, `0/1`, or `0/0` where none is wanted.
    #[serde(
        default,
        deserialize_with = "lenient::field",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 63))]
    pub ready: Option<String>,
    /// The `metadata.generation` that this status speaks of.
    #[serde(
        default,
        deserialize_with = "lenient::field",
        skip_serializing_if = "Option::is_none"
    )]
    pub observed_generation: Option<i64>,
    /// The image of each container and the rule that chose it, the main container first: as
    /// recorded on the pod, or, before there is one, as it would be chosen now.
    #[serde(
        default,
        deserialize_with = "lenient::list",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(length(max = 64))]
    pub images: Vec<ImageDecision>,
    /// `Accepted`, `Ready` and `ImagesCurrent`.
    #[serde(
        default,
        deserialize_with = "lenient::list",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Where an Agent or a Tool stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Phase {
    /// It cannot run as it is; the conditions say why.
    Failed,
    /// It is not armed: `spec.paused` is true.
    Paused,
    /// Its pod is wanted, but not running yet.
    Pending,
    /// Its pod runs.
    Running,
}

/// The conditions of [`Status`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConditionType {
    /// The spec is accepted by the rules.
    Accepted,
    /// The images recorded on the pod are those of the current rules.
    ImagesCurrent,
    /// The pod runs and is ready.
    Ready,
}

impl ConditionType {
    /// Every condition.
    pub const ALL: [Self; 3] = [Self::Accepted, Self::ImagesCurrent, Self::Ready];

    /// The value of `status.conditions[].type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::ImagesCurrent => "ImagesCurrent",
            Self::Ready => "Ready",
        }
    }
}
