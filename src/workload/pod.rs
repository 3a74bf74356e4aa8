//! The pods of Agents and Tools before admission. Every image is a placeholder; this module does
//! not know the images.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, ConfigMapKeySelector, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource,
        Pod, PodSpec, Probe, SeccompProfile, SecretKeySelector, SecurityContext, Volume,
        VolumeMount,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Resource, ResourceExt};

use crate::{
    admission::Placeholder,
    api::{
        AGENT_GENERATION_ANNOTATION, AGENT_LABEL, Agent, GROUP_LABEL, TOOL_GENERATION_ANNOTATION,
        TOOL_LABEL, Tool, ToolConfig,
    },
};

/// The label by which the leader finds its own pods.
pub(crate) const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY_LABEL`].
pub(crate) const MANAGED_BY: &str = "agentkube";

/// The container that runs the coding agent.
pub(crate) const AGENT_CONTAINER: &str = "agent";
/// The sidecar that drives the coding agent.
pub(crate) const AGENTLET_CONTAINER: &str = "agentlet";
/// The sidecar that records the session.
pub(crate) const RECORDER_CONTAINER: &str = "session-recorder";
/// The container of a custom Tool.
pub(crate) const TOOL_CONTAINER: &str = "tool";

/// The directory that agent and agentlet share.
const WORKSPACE: Share = Share {
    volume: "workspace",
    path: "/workspace",
};
/// The directory of the sockets between the containers.
const CONTROL: Share = Share {
    volume: "control",
    path: "/run/agentkube",
};
/// The directory of the recorder's asciicasts.
const CASTS: Share = Share {
    volume: "casts",
    path: "/var/lib/agentkube/casts",
};

/// The pod of an Agent, with its namespace and name.
///
/// Both sidecars are native ones (init containers that restart): they start before the agent's
/// first output and stop after its last, so recordings are complete. The recorder comes first and
/// therefore outlives the agentlet.
#[must_use]
pub fn agent_pod(agent: &Agent) -> Pod {
    let spec = &agent.spec;
    let records = spec.records();
    let mut labels = BTreeMap::from([
        (AGENT_LABEL.to_owned(), agent.name_any()),
        (MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned()),
    ]);
    if let Some(group) = agent.labels().get(GROUP_LABEL) {
        labels.insert(GROUP_LABEL.to_owned(), group.clone());
    }
    let agent_container = Container {
        resources: spec.resources.as_ref().map(Into::into),
        volume_mounts: Some(vec![WORKSPACE.mount(), CONTROL.mount()]),
        ..container(AGENT_CONTAINER)
    };
    let agentlet = Container {
        env: Some(agentlet_env(agent)),
        volume_mounts: Some(vec![WORKSPACE.mount(), CONTROL.mount()]),
        ..sidecar(AGENTLET_CONTAINER)
    };
    let recorder = Container {
        volume_mounts: Some(vec![CONTROL.mount(), CASTS.mount()]),
        ..sidecar(RECORDER_CONTAINER)
    };
    let mut volumes = vec![WORKSPACE.volume(), CONTROL.volume()];
    let mut sidecars = vec![agentlet];
    if records {
        volumes.push(CASTS.volume());
        sidecars.insert(0, recorder);
    }
    Pod {
        metadata: metadata(
            agent,
            agent_pod_name(agent),
            labels,
            AGENT_GENERATION_ANNOTATION,
        ),
        spec: Some(PodSpec {
            automount_service_account_token: spec
                .service_account_name
                .is_none()
                .then_some(false),
            containers: vec![agent_container],
            init_containers: Some(sidecars),
            node_selector: (!spec.node_selector.is_empty()).then(|| spec.node_selector.clone()),
            restart_policy: Some("Always".to_owned()),
            service_account_name: spec.service_account_name.clone(),
            tolerations: (!spec.tolerations.is_empty()).then(|| spec.tolerations.clone()),
            volumes: Some(volumes),
            ..PodSpec::default()
        }),
        status: None,
    }
}

/// The pod of a custom Tool, in its namespace.
#[must_use]
pub fn tool_pod(tool: &Tool) -> Pod {
    let labels = BTreeMap::from([
        (TOOL_LABEL.to_owned(), tool.name_any()),
        (MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned()),
    ]);
    Pod {
        metadata: metadata(
            tool,
            tool_pod_name(tool),
            labels,
            TOOL_GENERATION_ANNOTATION,
        ),
        spec: Some(PodSpec {
            automount_service_account_token: Some(false),
            containers: vec![Container {
                env: Some(tool_env(tool)),
                readiness_probe: tool.spec.probe.clone().map(of_own_pod),
                ..container(TOOL_CONTAINER)
            }],
            restart_policy: Some("Always".to_owned()),
            ..PodSpec::default()
        }),
        status: None,
    }
}

/// A probe without a host, so it only asks its own pod. A host is only there if the Tool was stored
/// while admission was not in force.
fn of_own_pod(mut probe: Probe) -> Probe {
    if let Some(http_get) = &mut probe.http_get {
        http_get.host = None;
    }
    if let Some(tcp_socket) = &mut probe.tcp_socket {
        tcp_socket.host = None;
    }
    probe
}

/// The name of an Agent's pod, which is that of the Agent.
pub(crate) fn agent_pod_name(agent: &Agent) -> String {
    agent.name_any()
}

/// The name of a Tool's pod. The prefix keeps it apart from an Agent of the same name.
pub(crate) fn tool_pod_name(tool: &Tool) -> String {
    format!("tool-{}", tool.name_any())
}

fn metadata<K: Resource<DynamicType = ()>>(
    owner: &K,
    name: String,
    labels: BTreeMap<String, String>,
    generation: &str,
) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: owner.namespace(),
        labels: Some(labels),
        annotations: Some(BTreeMap::from([(
            generation.to_owned(),
            owner
                .meta()
                .generation
                .unwrap_or_default()
                .to_string(),
        )])),
        owner_references: owner
            .controller_owner_ref(&())
            .map(|mut reference| {
                reference.block_owner_deletion = Some(true);
                vec![reference]
            }),
        ..ObjectMeta::default()
    }
}

/// A directory that containers of the pod share.
struct Share {
    volume: &'static str,
    path: &'static str,
}

impl Share {
    fn mount(&self) -> VolumeMount {
        VolumeMount {
            name: self.volume.to_owned(),
            mount_path: self.path.to_owned(),
            ..VolumeMount::default()
        }
    }

    fn volume(&self) -> Volume {
        Volume {
            name: self.volume.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        }
    }
}

/// A container with the name of its placeholder.
fn container(name: &str) -> Container {
    Container {
        name: name.to_owned(),
        image: Some(Placeholder::image(name)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn sidecar(name: &str) -> Container {
    Container {
        restart_policy: Some("Always".to_owned()),
        ..container(name)
    }
}

fn agentlet_env(agent: &Agent) -> Vec<EnvVar> {
    let spec = &agent.spec;
    let mut env = vec![
        literal("AGENTKUBE_AGENT_NAME", &agent.name_any()),
        literal(
            "AGENTKUBE_AGENT_NAMESPACE",
            &agent.namespace().unwrap_or_default(),
        ),
        literal("AGENTKUBE_AGENT_RUNTIME", spec.runtime.as_str()),
        literal("AGENTKUBE_AGENT_MODE", spec.mode.as_str()),
    ];
    if let Some(model) = &spec.model {
        env.push(literal("AGENTKUBE_AGENT_MODEL_NAME", &model.name));
        if let Some(provider) = &model.provider {
            env.push(literal("AGENTKUBE_AGENT_MODEL_PROVIDER", provider));
        }
    }
    if let Some(goal) = &spec.goal {
        const GOAL: &str = "AGENTKUBE_AGENT_GOAL";
        if let Some(inline) = &goal.inline {
            env.push(literal(GOAL, inline));
        } else if let Some(reference) = &goal.config_map_key_ref {
            let selector = ConfigMapKeySelector {
                name: reference.name.clone(),
                key: reference.key.clone(),
                optional: None,
            };
            let source = EnvVarSource {
                config_map_key_ref: Some(selector),
                ..EnvVarSource::default()
            };
            env.push(sourced(GOAL, source));
        }
    }
    if !spec.tools.is_empty() {
        let names: Vec<_> = spec
            .tools
            .iter()
            .map(|tool| tool.name.as_str())
            .collect();
        env.push(literal("AGENTKUBE_AGENT_TOOLS", &names.join(",")));
    }
    env
}

fn tool_env(tool: &Tool) -> Vec<EnvVar> {
    let mut env = vec![
        literal("AGENTKUBE_TOOL_NAME", &tool.name_any()),
        literal("AGENTKUBE_TOOL_TYPE", tool.spec.type_.as_str()),
        literal("AGENTKUBE_TOOL_IDLE_TIMEOUT", &tool.spec.idle_timeout),
    ];
    let Some(config) = &tool.spec.config else {
        return env;
    };
    let ToolConfig {
        hostname,
        port,
        username,
        database_name,
        ssl_mode,
        credentials_ref,
    } = config;
    let port = port.map(|port| port.to_string());
    for (name, value) in [
        ("AGENTKUBE_TOOL_HOSTNAME", hostname),
        ("AGENTKUBE_TOOL_PORT", &port),
        ("AGENTKUBE_TOOL_USERNAME", username),
        ("AGENTKUBE_TOOL_DATABASE_NAME", database_name),
        ("AGENTKUBE_TOOL_SSL_MODE", ssl_mode),
    ] {
        env.extend(
            value
                .as_deref()
                .map(|value| literal(name, value)),
        );
    }
    if let Some(reference) = credentials_ref {
        let selector = SecretKeySelector {
            name: reference.name.clone(),
            key: reference.key.clone(),
            optional: None,
        };
        let source = EnvVarSource {
            secret_key_ref: Some(selector),
            ..EnvVarSource::default()
        };
        env.push(sourced("AGENTKUBE_TOOL_CREDENTIALS", source));
    }
    env
}

/// A variable whose value is passed on literally. Kubernetes would expand `$(NAME)` in it, and
/// reads `$$` as a plain `$`.
fn literal(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.replace('$', "$$")),
        value_from: None,
    }
}

fn sourced(name: &str, source: EnvVarSource) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(source),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workload::fixtures::{agent, tool};

    fn env(container: &Container) -> BTreeMap<&str, &str> {
        container
            .env
            .iter()
            .flatten()
            .filter_map(|var| Some((var.name.as_str(), var.value.as_deref()?)))
            .collect()
    }

    fn spec(pod: &Pod) -> &PodSpec {
        pod.spec.as_ref().unwrap()
    }

    fn names(containers: &[Container]) -> Vec<&str> {
        containers
            .iter()
            .map(|container| container.name.as_str())
            .collect()
    }

    #[test]
    fn the_pod_of_a_full_agent() {
        let agent = agent(json!({
            "runtime": "ClaudeCode",
            "mode": "system",
            "paused": false,
            "goal": {"inline": "Triage issues"},
            "model": {"name": "claude-opus-4-7", "provider": "anthropic"},
            "agentToken": {"secretRef": {"name": "claude-code-token", "key": "token"}},
            "tools": [{"name": "github"}, {"name": "warehouse"}],
            "sessionRecording": {"enabled": true},
            "resources": {"limits": {"memory": "2Gi"}, "requests": {"cpu": 1}},
            "nodeSelector": {"pool": "agents"},
            "tolerations": [{"key": "agents", "operator": "Exists"}],
            "serviceAccountName": "triage",
        }));
        insta::assert_yaml_snapshot!(agent_pod(&agent));
    }

    #[test]
    fn the_pod_of_a_full_tool() {
        let tool = tool(json!({
            "type": "custom",
            "image": "registry.example.com/tools/browser:v1",
            "probe": {"tcpSocket": {"port": 8080}},
            "config": {
                "hostname": "db.internal", "port": 5432, "username": "bot", "databaseName": "tickets",
                "sslMode": "require", "credentialsRef": {"name": "db", "key": "password"},
            },
        }));
        insta::assert_yaml_snapshot!(tool_pod(&tool));
    }

    #[test]
    fn every_image_is_a_placeholder() {
        let agent = agent(json!({
            "runtime": "Custom",
            "image": "registry.example.com/mine:v1",
            "sessionRecording": {"enabled": true},
        }));
        let tool = tool(json!({"type": "custom", "image": "registry.example.com/mine:v1"}));
        for pod in [agent_pod(&agent), tool_pod(&tool)] {
            let spec = spec(&pod);
            let containers = spec
                .containers
                .iter()
                .chain(spec.init_containers.iter().flatten());
            for container in containers {
                let image = container.image.as_deref().unwrap();
                assert!(
                    !matches!(
                        Placeholder::parse(image),
                        None | Some(Placeholder::Unknown(_))
                    ),
                    "{image}"
                );
            }
        }
    }

    #[test]
    fn without_recording_there_is_no_recorder_and_no_place_for_casts() {
        let pod = agent_pod(&agent(json!({"runtime": "Codex"})));
        let spec = spec(&pod);
        assert_eq!(names(&spec.containers), ["agent"]);
        assert_eq!(names(spec.init_containers.as_ref().unwrap()), ["agentlet"]);
        let volumes: Vec<_> = spec
            .volumes
            .iter()
            .flatten()
            .map(|volume| volume.name.as_str())
            .collect();
        assert_eq!(volumes, ["workspace", "control"]);
    }

    #[test]
    fn an_api_token_is_mounted_only_where_an_account_is_named() {
        let pod = agent_pod(&agent(json!({"runtime": "Codex"})));
        assert_eq!(spec(&pod).automount_service_account_token, Some(false));
        let named = json!({"runtime": "Codex", "serviceAccountName": "bot"});
        let pod = agent_pod(&agent(named));
        assert_eq!(spec(&pod).automount_service_account_token, None);
    }

    #[test]
    fn what_people_write_is_not_expanded() {
        let agent = agent(json!({
            "runtime": "Codex",
            "goal": {"inline": "Pay $5 and $$6 to $(AGENTKUBE_AGENT_NAME)"},
        }));
        let pod = agent_pod(&agent);
        let sidecars = spec(&pod)
            .init_containers
            .as_ref()
            .unwrap();
        let goal = env(&sidecars[0])["AGENTKUBE_AGENT_GOAL"];
        assert_eq!(goal, "Pay $$5 and $$$$6 to $$(AGENTKUBE_AGENT_NAME)");
    }

    #[test]
    fn a_goal_may_stand_in_a_config_map() {
        let agent = agent(json!({
            "runtime": "Codex",
            "goal": {"configMapKeyRef": {"name": "goals", "key": "triage"}},
        }));
        let pod = agent_pod(&agent);
        let sidecars = spec(&pod)
            .init_containers
            .as_ref()
            .unwrap();
        let goal = sidecars[0]
            .env
            .iter()
            .flatten()
            .find(|var| var.name == "AGENTKUBE_AGENT_GOAL")
            .unwrap();
        let source = goal.value_from.as_ref().unwrap();
        let reference = source
            .config_map_key_ref
            .as_ref()
            .unwrap();
        assert_eq!(
            (reference.name.as_str(), reference.key.as_str()),
            ("goals", "triage")
        );
        assert_eq!(goal.value, None);
    }

    #[test]
    fn the_agents_other_labels_stay_with_the_agent() {
        let mut agent = agent(json!({"runtime": "Codex"}));
        agent
            .labels_mut()
            .insert("app".into(), "x".into());
        agent
            .labels_mut()
            .insert(GROUP_LABEL.into(), "support-team".into());
        let pod = agent_pod(&agent);
        let labels: Vec<_> = pod
            .labels()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            labels,
            [
                ("agentkube.io/agent", "bot"),
                ("agentkube.io/agentgroup", "support-team"),
                ("app.kubernetes.io/managed-by", "agentkube"),
            ]
        );
    }
}
