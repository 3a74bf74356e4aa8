//! The custom resources of `agentkube.io/v1alpha1`: [`Agent`], [`Tool`] and [`Rejection`].
//!
//! The CRDs in `manifests/crds/` are generated from these types (`agentkube crds`). Rules that do
//! not depend on the policy (a Custom Agent needs an image, a goal has exactly one source) are CEL
//! rules of the types, which the API server enforces even while the webhook is not in force.

mod agent;
mod crds;
mod decision;
mod lenient;
mod limits;
mod quantity;
mod readable;
mod rejection;
mod secret;
mod slots;
mod status;
mod tool;

pub use agent::{
    Agent, AgentSpec, AgentToken, Goal, MOST_PULL_SECRETS, Mode, Model, PullPolicy,
    SessionRecording, ToolRef,
};
pub use crds::{crds, to_yaml};
pub use decision::ImageDecision;
pub use limits::{LONGEST_CONDITION_MESSAGE, LONGEST_GOAL_BYTES, LONGEST_SPEC_BYTES};
pub use quantity::{Amount, Resources};
pub(crate) use readable::{Readable, UnreadableObject, unreadable_field};
pub use rejection::{RejectedObject, Rejection, RejectionCause, RejectionDecision, RejectionSpec};
pub use secret::{KeyRef, LocalRef};
pub(crate) use slots::{PodSlot, PodSlotKind, image_holders, pod_images, pod_slots};
pub use status::{ConditionType, Phase, Status};
pub use tool::{Tool, ToolConfig, ToolSpec, ToolType};

/// The API group of every resource here.
pub(crate) const GROUP: &str = "agentkube.io";
/// The served version.
pub(crate) const VERSION: &str = "v1alpha1";
/// The name of the manager's own objects: Deployment, Service, registrations, Lease.
pub const MANAGER: &str = "agentkube-manager";
/// The namespace that the manager is installed in.
pub const MANAGER_NAMESPACE: &str = "agentkube-system";
/// The namespaces that the registrations of the webhooks exclude.
pub(crate) const EXCLUDED_NAMESPACES: [&str; 2] = ["kube-system", MANAGER_NAMESPACE];
/// Label of a namespace: with `enabled`, written-out default images follow the settings.
pub(crate) const REWRITE_DEFAULTS_LABEL: &str = "agentkube.io/rewrite-defaults";
/// Label of a pod: the Agent that it belongs to.
pub(crate) const AGENT_LABEL: &str = "agentkube.io/agent";
/// Label of a pod: the Tool that it belongs to.
pub(crate) const TOOL_LABEL: &str = "agentkube.io/tool";
/// Label of an Agent, copied to its pod: the group that it belongs to.
pub(crate) const GROUP_LABEL: &str = "agentkube.io/agentgroup";
/// Annotation of a pod: the decision of admission, a JSON list of [`ImageDecision`].
pub const IMAGES_ANNOTATION: &str = "agentkube.io/images";
/// Annotation of a pod: the `metadata.generation` of the Agent that it was built from.
pub(crate) const AGENT_GENERATION_ANNOTATION: &str = "agentkube.io/agent-generation";
/// Annotation of a pod: the `metadata.generation` of the Tool that it was built from.
pub(crate) const TOOL_GENERATION_ANNOTATION: &str = "agentkube.io/tool-generation";
/// Annotation of a mirror pod, which a kubelet runs from a file and only mirrors to the API server.
pub(crate) const MIRROR_POD_ANNOTATION: &str = "kubernetes.io/config.mirror";
