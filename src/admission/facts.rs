use kube::api::ObjectMeta;

use crate::{
    api::{Agent, KeyRef, PullPolicy, Tool, ToolType},
    images::Runtime,
};

/// The few fields of an Agent that admission needs to decide on its pods. They are small, so a
/// replica can hold tens of thousands of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AgentFacts {
    /// `metadata.uid`, which tells objects of the same name apart.
    pub uid: Box<str>,
    /// `metadata.generation`, the version of the spec that these facts were taken from.
    pub generation: i64,
    /// True if `metadata.deletionTimestamp` is set. No pod is filled from such an object.
    pub is_being_deleted: bool,
    /// `spec.runtime`.
    pub runtime: Runtime,
    /// `spec.image`, if it is set and not blank.
    pub image: Option<Box<str>>,
    /// `spec.imagePullPolicy`.
    pub pull_policy: Option<PullPolicy>,
    /// The names in `spec.imagePullSecrets`.
    pub pull_secrets: Box<[Box<str>]>,
    /// `spec.agentToken.secretRef`.
    pub token: Option<Box<KeyRef>>,
}

/// The few fields of a Tool that admission needs to decide on its pods.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ToolFacts {
    /// `metadata.uid`, which tells objects of the same name apart.
    pub uid: Box<str>,
    /// `metadata.generation`, the version of the spec that these facts were taken from.
    pub generation: i64,
    /// True if `metadata.deletionTimestamp` is set. No pod is filled from such an object.
    pub is_being_deleted: bool,
    /// `spec.type`.
    pub type_: ToolType,
    /// `spec.image`, if it is set and not blank.
    pub image: Option<Box<str>>,
}

/// The Agent and the Tool that a pod belongs to, if they exist.
#[derive(Clone, Copy, Debug, Default)]
pub struct Owners<'a> {
    /// The Agent named by the label `agentkube.io/agent` or by the controller reference.
    pub agent: Option<&'a AgentFacts>,
    /// The Tool named by the label `agentkube.io/tool` or by the controller reference.
    pub tool: Option<&'a ToolFacts>,
}

/// One state of an object: its identity, and the version of its spec.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ObjectState<'a> {
    /// `metadata.uid`.
    pub uid: &'a str,
    /// `metadata.generation`.
    pub generation: i64,
}

impl AgentFacts {
    /// The state that these facts were taken from.
    #[must_use]
    pub fn state(&self) -> ObjectState<'_> {
        ObjectState {
            uid: &self.uid,
            generation: self.generation,
        }
    }
}

impl ToolFacts {
    /// The state that these facts were taken from.
    #[must_use]
    pub fn state(&self) -> ObjectState<'_> {
        ObjectState {
            uid: &self.uid,
            generation: self.generation,
        }
    }
}

impl From<&Agent> for AgentFacts {
    fn from(agent: &Agent) -> Self {
        let spec = &agent.spec;
        let metadata = &agent.metadata;
        Self {
            uid: uid(metadata),
            generation: metadata.generation.unwrap_or_default(),
            is_being_deleted: metadata.deletion_timestamp.is_some(),
            runtime: spec.runtime,
            image: image(spec.image.as_deref()),
            pull_policy: spec.image_pull_policy,
            pull_secrets: spec
                .image_pull_secrets
                .iter()
                .map(|secret| secret.name.as_str().into())
                .collect(),
            token: spec
                .agent_token
                .as_ref()
                .map(|token| Box::new(token.secret_ref.clone())),
        }
    }
}

impl From<&Tool> for ToolFacts {
    fn from(tool: &Tool) -> Self {
        let metadata = &tool.metadata;
        Self {
            uid: uid(metadata),
            generation: metadata.generation.unwrap_or_default(),
            is_being_deleted: metadata.deletion_timestamp.is_some(),
            type_: tool.spec.type_,
            image: image(tool.spec.image.as_deref()),
        }
    }
}

fn uid(metadata: &ObjectMeta) -> Box<str> {
    metadata
        .uid
        .as_deref()
        .unwrap_or_default()
        .into()
}

fn image(value: Option<&str>) -> Option<Box<str>> {
    value
        .filter(|image| !image.trim().is_empty())
        .map(Into::into)
}
