//! The custom resources of `agentkube.io/v1alpha1`: [`Agent`], [`Tool`] and [`Rejection`].
//!
//! The CRDs in `manifests/crds/` are generated from these types (`agentkube crds`); what needs no
//! policy (a Custom Agent needs an image, exactly one goal source) is written on them as CEL
//! rules, which the API server holds even when the webhook is away.

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
/// The version that is served.
pub(crate) const VERSION: &str = "v1alpha1";
/// The name of everything that is the manager's own: Deployment, Service, registrations, Lease.
pub const MANAGER: &str = "agentkube-manager";
/// The namespace that the manager is installed in.
pub const MANAGER_NAMESPACE: &str = "agentkube-system";
/// The namespaces that the registrations of the webhooks leave out.
pub(crate) const EXCLUDED_NAMESPACES: [&str; 2] = ["kube-system", MANAGER_NAMESPACE];
/// Label of a namespace: `enabled` has default images that somebody wrote out follow the levers.
pub(crate) const REWRITE_DEFAULTS_LABEL: &str = "agentkube.io/rewrite-defaults";
/// Label of a pod: the Agent that it belongs to.
pub(crate) const AGENT_LABEL: &str = "agentkube.io/agent";
/// Label of a pod: the Tool that it belongs to.
pub(crate) const TOOL_LABEL: &str = "agentkube.io/tool";
/// Label of an Agent, carried over to its pod: the group that it belongs to.
pub(crate) const GROUP_LABEL: &str = "agentkube.io/agentgroup";
/// Annotation of a pod: what admission decided, a JSON list of [`ImageDecision`].
pub const IMAGES_ANNOTATION: &str = "agentkube.io/images";
/// Annotation of a pod: the `metadata.generation` of the Agent that it was built from.
pub(crate) const AGENT_GENERATION_ANNOTATION: &str = "agentkube.io/agent-generation";
/// Annotation of a pod: the `metadata.generation` of the Tool that it was built from.
pub(crate) const TOOL_GENERATION_ANNOTATION: &str = "agentkube.io/tool-generation";
/// Annotation of a pod that a kubelet runs from a file, and only shows to the API server.
pub(crate) const MIRROR_POD_ANNOTATION: &str = "kubernetes.io/config.mirror";
