use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;

use super::named::{NamedImage, OwnImage};
use crate::{
    admission::Policy,
    api::{Agent, Tool, pod_images},
    cli::{client::client, cluster, settings},
    images::{Component, normalized, resolve},
    queries,
};

/// The settings and the running images of a cluster.
pub(super) struct Cluster {
    /// The settings of the running manager.
    pub(super) policy: Policy,
    agents: Vec<Agent>,
    tools: Vec<Tool>,
    pods: Vec<Pod>,
}

/// Usage counts of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Usage {
    /// Agents that use it, including paused ones.
    pub(super) agents: usize,
    /// Unfinished pods that use it, whoever owns them.
    pub(super) pods: usize,
    /// Nodes that these pods run on.
    pub(super) nodes: usize,
}

impl Cluster {
    /// Reads the current cluster, with more settings on top of its manager's. RBAC: `get` on the
    /// manager's Deployment, and `list` on agents, tools and pods in all namespaces.
    pub(super) fn read<const N: usize>(more: [(&str, &str); N]) -> anyhow::Result<Self> {
        cluster::block_on(async {
            let client = client().await?;
            let mut settings = cluster::manager_settings(&client).await?;
            settings.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
            Ok(Self {
                policy: settings::parse(&settings)?,
                agents: queries::list(&client).await?,
                tools: queries::list(&client).await?,
                pods: queries::list(&client).await?,
            })
        })
    }

    /// The images that Agents and Tools name themselves, without duplicates.
    pub(super) fn own(&self) -> impl Iterator<Item = OwnImage> {
        let agents = self
            .agents
            .iter()
            .map(|agent| (agent.spec.runtime.component(), agent.spec.image.as_deref()));
        let tools = self
            .tools
            .iter()
            .map(|tool| (Component::Tool, tool.spec.image.as_deref()));
        let own: BTreeSet<_> = agents
            .chain(tools)
            .filter_map(|(component, image)| {
                let image = image.filter(|image| !image.trim().is_empty())?;
                Some((component, image.to_owned()))
            })
            .collect();
        own.into_iter()
            .map(|(component, image)| OwnImage {
                component,
                image: image.into(),
            })
    }

    /// The usage counts of an image.
    pub(super) fn usage(&self, image: &NamedImage) -> Usage {
        let wanted = image.normalized();
        let agents = self
            .agents
            .iter()
            .filter(|agent| self.runs(agent, &wanted))
            .count();
        let pods: Vec<_> = self
            .pods
            .iter()
            .filter(|pod| {
                has_not_ended(pod) && pod_images(pod).any(|image| normalized(image) == wanted)
            })
            .collect();
        let nodes: BTreeSet<_> = pods
            .iter()
            .filter_map(|pod| pod.spec.as_ref()?.node_name.as_deref())
            .collect();
        Usage {
            agents,
            pods: pods.len(),
            nodes: nodes.len(),
        }
    }

    fn runs(&self, agent: &Agent, wanted: &str) -> bool {
        let spec = &agent.spec;
        let recorder = spec
            .session_recording
            .as_ref()
            .is_some_and(|recording| recording.enabled)
            .then_some(Component::SessionRecorder);
        let rules = |component| {
            let resolution = resolve(component, None, &self.policy.images)?;
            Some(resolution.image.normalized())
        };
        let own = spec
            .image
            .as_deref()
            .filter(|image| !image.trim().is_empty())
            .map(normalized);
        own.or_else(|| rules(spec.runtime.component()))
            .into_iter()
            .chain(rules(Component::Agentlet))
            .chain(recorder.and_then(rules))
            .any(|image| image == wanted)
    }
}

fn has_not_ended(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    fn read<T: DeserializeOwned>(objects: &[Value]) -> Vec<T> {
        objects
            .iter()
            .map(|object| serde_json::from_value(object.clone()).unwrap())
            .collect()
    }

    fn pod(node: &str, phase: &str, image: &str) -> Value {
        json!({
            "metadata": { "name": "p" },
            "spec": { "nodeName": node, "containers": [{ "name": "c", "image": image }] },
            "status": { "phase": phase },
        })
    }

    fn cluster() -> Cluster {
        let agent = |spec: Value| {
            json!({
                "apiVersion": "agentkube.io/v1alpha1", "kind": "Agent", "metadata": { "name": "a" }, "spec": spec,
            })
        };
        Cluster {
            policy: Policy::default(),
            agents: read(&[
                agent(json!({ "runtime": "Codex", "goal": { "inline": "x" } })),
                agent(
                    json!({ "runtime": "Codex", "goal": { "inline": "x" }, "sessionRecording": { "enabled": true } }),
                ),
                agent(
                    json!({ "runtime": "Codex", "goal": { "inline": "x" }, "image": "ghcr.io/acme/codex:v9" }),
                ),
            ]),
            tools: Vec::new(),
            pods: read(&[
                pod("n1", "Running", "adaptivelive/codex:v0.3.0"),
                pod("n1", "Pending", "docker.io/adaptivelive/codex:v0.3.0"),
                pod("n2", "Succeeded", "docker.io/adaptivelive/codex:v0.3.0"),
            ]),
        }
    }

    #[test]
    fn agents_count_by_what_they_would_run_and_pods_by_what_they_have() {
        let cluster = cluster();
        let usage = |image: &str| {
            let Usage {
                agents,
                pods,
                nodes,
            } = cluster.usage(&image.to_owned().into());
            [agents, pods, nodes]
        };
        assert_eq!(usage("docker.io/adaptivelive/codex:v0.3.0"), [2, 2, 1]);
        assert_eq!(usage("ghcr.io/acme/codex:v9"), [1, 0, 0]);
        assert_eq!(
            usage("docker.io/adaptivelive/agentkube-agentlet:v0.3.0"),
            [3, 0, 0]
        );
        assert_eq!(
            usage("docker.io/adaptivelive/agentkube-session-recorder:v0.3.0"),
            [1, 0, 0]
        );
    }

    #[test]
    fn images_of_agents_and_tools_are_listed_once() {
        let own: Vec<_> = cluster().own().collect();
        assert_eq!(own.len(), 1);
        assert_eq!(own[0].image.as_str(), "ghcr.io/acme/codex:v9");
        assert_eq!(own[0].component, Component::Codex);
    }
}
