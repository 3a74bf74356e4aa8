#![expect(
    unreachable_pub,
    reason = "the schema derive repeats the struct inside a function"
)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{KeyRef, LocalRef, Resources, Status};
use crate::images::Runtime;

/// The most pull secrets of an Agent. Its author needs a right to each, and this many checks fit
/// into the API server's cost limit for a policy.
pub const MOST_PULL_SECRETS: usize = 16;

/// An AI coding agent that runs as one pod.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "agentkube.io",
    version = "v1alpha1",
    kind = "Agent",
    namespaced,
    status = "Status",
    shortname = "ag",
    category = "agentkube",
    doc = "An AI coding agent that runs as one pod",
    derive = "PartialEq",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.ready"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Runtime", type_ = "string", json_path = ".spec.runtime", priority = "1"),
    printcolumn(name = "Image", type_ = "string", json_path = ".status.images[0].image", priority = "1"),
    validation = Rule::new("self.metadata.name.size() <= 63")
        .message("metadata.name must be no more than 63 characters: the Agent's pod and its labels carry the name"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.runtime != 'Custom' || (has(self.image) && self.image != '')")
        .message("runtime Custom has no default image (hint: set spec.image to the image this Agent should run)")
        .reason(kube::core::cel::Reason::FieldValueRequired)
        .field_path(".image")
)]
pub struct AgentSpec {
    /// The coding agent to run; decides the default image and the token variable.
    pub runtime: Runtime,
    /// The image to run, verbatim. Required for runtime Custom; elsewhere it beats every
    /// cluster-wide setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub image: Option<String>,
    /// Pull policy of every image that admission sets in the Agent's pod. Without it Kubernetes'
    /// own rule holds: `Always` for `:latest` or no tag, else `IfNotPresent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,
    /// Secrets to pull the images with, in place of the manager's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST_PULL_SECRETS))]
    pub image_pull_secrets: Vec<LocalRef>,
    /// The token that the runtime reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_token: Option<AgentToken>,
    /// How the agent is driven.
    #[serde(default)]
    pub mode: Mode,
    /// While true no pod is created: review the resolved status, then set it to false.
    #[serde(default = "paused")]
    pub paused: bool,
    /// What the agent is to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Goal>,
    /// The language model that the runtime uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,
    /// Tools of the same namespace that the agent may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub tools: Vec<ToolRef>,
    /// Whether the session is recorded as an asciicast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_recording: Option<SessionRecording>,
    /// Compute resources of the agent container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Labels that the node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "node_selector")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pod tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tolerations: Vec<Toleration>,
    /// The ServiceAccount that the pod runs as. Without it no API token is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
}

/// A container's pull policy.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum PullPolicy {
    /// Ask the registry at every start.
    Always,
    /// Pull where the node does not hold the image.
    IfNotPresent,
    /// Run only what the node holds.
    Never,
}

impl PullPolicy {
    /// The value of a container's `imagePullPolicy`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// Where the runtime's token comes from.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentToken {
    /// The Secret and the key that hold it.
    pub secret_ref: KeyRef,
}

/// How an agent is driven.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// A person reviews what it does.
    #[default]
    Supervised,
    /// It runs on its own.
    System,
}

impl Mode {
    /// The value of `spec.mode`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Supervised => "supervised",
            Self::System => "system",
        }
    }
}

/// What an agent is to do: exactly one of the two.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.inline) != has(self.configMapKeyRef)")
        .message("exactly one of inline and configMapKeyRef must be set"),
    validation = Rule::new("!has(self.inline) || bytes(self.inline).size() <= 65536")
        .message("a goal must be no more than 65536 bytes (hint: put the rest where the agent can read it, and say where)")
        .field_path(".inline")
)]
pub struct Goal {
    /// The goal itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub inline: Option<String>,
    /// A key of a ConfigMap in the same namespace that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyRef>,
}

/// A language model.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Model {
    /// Its name, as the runtime knows it.
    #[schemars(length(max = 1024))]
    pub name: String,
    /// Who serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub provider: Option<String>,
}

/// A Tool of the same namespace.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ToolRef {
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// Whether a session is recorded.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct SessionRecording {
    /// True adds the session recorder to the pod.
    #[serde(default)]
    pub enabled: bool,
}

impl AgentSpec {
    /// True if the session recorder belongs in the pod.
    #[must_use]
    pub fn records(&self) -> bool {
        self.session_recording
            .is_some_and(|recording| recording.enabled)
    }
}

/// The schema of a node's labels. Limits of a map's values have to be written as a whole schema.
fn node_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 63},
    })
}

/// Agents start paused, so that their author can review what would run.
fn paused() -> bool {
    true
}
