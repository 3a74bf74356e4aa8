use crate::{
    api::{Agent, KeyRef, PullPolicy, Tool, ToolType},
    images::Runtime,
};

/// What admission has to know of an Agent to decide on its pod: the few fields that are read,
/// so that a replica can hold tens of thousands of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AgentFacts {
    /// `metadata.generation`: which version of the spec these facts were taken from.
    pub generation: i64,
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

/// What admission has to know of a Tool to decide on its pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ToolFacts {
    /// `metadata.generation`: which version of the spec these facts were taken from.
    pub generation: i64,
    /// `spec.type`.
    pub type_: ToolType,
    /// `spec.image`, if it is set and not blank.
    pub image: Option<Box<str>>,
}

/// The Agent and the Tool that a pod is labelled with, as far as they exist.
#[derive(Clone, Copy, Debug, Default)]
pub struct Owners<'a> {
    /// The Agent of the label `agentkube.io/agent`.
    pub agent: Option<&'a AgentFacts>,
    /// The Tool of the label `agentkube.io/tool`.
    pub tool: Option<&'a ToolFacts>,
}

impl From<&Agent> for AgentFacts {
    fn from(agent: &Agent) -> Self {
        let spec = &agent.spec;
        Self {
            generation: agent
                .metadata
                .generation
                .unwrap_or_default(),
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
        Self {
            generation: tool
                .metadata
                .generation
                .unwrap_or_default(),
            type_: tool.spec.type_,
            image: image(tool.spec.image.as_deref()),
        }
    }
}

fn image(value: Option<&str>) -> Option<Box<str>> {
    value
        .filter(|image| !image.trim().is_empty())
        .map(Into::into)
}
