//! The Agents of a cluster, as they are seen from outside: their status, and the pods that run.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use serde::{Deserialize, Serialize};

use crate::wait::until;

/// Where admission records what it decided, on the pod.
const IMAGES_ANNOTATION: &str = "agentkube.io/images";

/// An Agent and its pod.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentReport {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `Paused`, `Pending`, `Running` or `Failed`; `None` before the reconciler saw it.
    pub phase: Option<String>,
    /// Such as `1/1`.
    pub ready: Option<String>,
    /// The pod that it owns.
    pub pod: Option<String>,
    /// Where that was placed.
    pub node: Option<String>,
    /// The variables that the pod's containers read from Secrets.
    pub token_env: Vec<String>,
    /// What the pod runs, containers first, then init containers; without a pod, what would run.
    pub images: Vec<ImageReport>,
    /// The conditions of its status.
    pub conditions: Vec<ConditionReport>,
    /// Whether the status speaks of the spec as it is now.
    #[serde(skip)]
    is_current: bool,
}

/// What a container runs, and why.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageReport {
    /// The name of the container.
    pub container: String,
    /// The row of the matrix; `None` for a container that admission did not decide about.
    pub component: Option<String>,
    /// The reference, from the live pod if there is one.
    pub image: String,
    /// From the live pod.
    pub image_pull_policy: Option<String>,
    /// The rule that chose it: `resource`, `override`, `mirror` or `default`.
    pub source: Option<String>,
    /// The variable that the rule read.
    pub variable: Option<String>,
}

/// A condition of an Agent.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ConditionReport {
    /// Such as `Accepted`.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word.
    #[serde(default)]
    pub reason: String,
    /// For people.
    #[serde(default)]
    pub message: String,
}

impl AgentReport {
    /// Whether nothing more will happen by itself.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let phase = self.phase.as_deref();
        let runs = phase == Some("Running") && self.ready.as_deref() == Some("1/1");
        self.is_current && (runs || matches!(phase, Some("Paused" | "Failed")))
    }

    /// What it waits for, in words.
    #[must_use]
    pub fn why_unsettled(&self) -> String {
        let waits = self
            .conditions
            .iter()
            .filter(|condition| condition.status != "True")
            .map(
                |ConditionReport {
                     type_,
                     reason,
                     message,
                     ..
                 }| format!("{type_}: {reason}: {message}"),
            );
        let mut words = vec![match (&self.phase, self.is_current) {
            (Some(phase), true) => phase.clone(),
            (Some(phase), false) => format!("{phase}, for an older spec"),
            (None, _) => "not seen by the reconciler yet".to_owned(),
        }];
        words.extend(waits);
        words.join("; ")
    }

    /// One that runs `images`.
    #[cfg(test)]
    pub(crate) fn example(images: Vec<ImageReport>) -> Self {
        let ready = ConditionReport {
            type_: "Ready".to_owned(),
            status: "True".to_owned(),
            reason: "Running".to_owned(),
            message: String::new(),
        };
        Self {
            namespace: "n".to_owned(),
            name: "a".to_owned(),
            phase: Some("Running".to_owned()),
            ready: Some("1/1".to_owned()),
            pod: Some("a".to_owned()),
            node: Some("node-1".to_owned()),
            token_env: vec!["OPENAI_API_KEY".to_owned()],
            images,
            conditions: vec![ready],
            is_current: true,
        }
    }

    fn new(agent: &DynamicObject, pods: &[Pod]) -> Self {
        let status: AgentStatus = agent
            .data
            .get("status")
            .and_then(|status| serde_json::from_value(status.clone()).ok())
            .unwrap_or_default();
        let pod = pods
            .iter()
            .find(|pod| is_owned_by(pod, agent));
        Self {
            namespace: agent.namespace().unwrap_or_default(),
            name: agent.name_any(),
            phase: status.phase,
            ready: status.ready,
            pod: pod.map(ResourceExt::name_any),
            node: pod.and_then(|pod| pod.spec.as_ref()?.node_name.clone()),
            token_env: pod.map(token_env).unwrap_or_default(),
            images: pod.map_or(status.images, images),
            conditions: status.conditions,
            is_current: status.observed_generation.is_some()
                && status.observed_generation == agent.metadata.generation,
        }
    }
}

/// Reads all Agents and their pods, sorted by namespace and name.
///
/// # Errors
///
/// The API server does not answer, or knows no Agents.
pub async fn agents(client: &Client) -> anyhow::Result<Vec<AgentReport>> {
    let kind = GroupVersionKind::gvk("agentkube.io", "v1alpha1", "Agent");
    let resource = ApiResource::from_gvk_with_plural(&kind, "agents");
    let agents = Api::<DynamicObject>::all_with(client.clone(), &resource)
        .list(&ListParams::default())
        .await
        .context("cannot list Agents")?;
    let pods = Api::<Pod>::all(client.clone())
        .list(&ListParams::default().labels("agentkube.io/agent"))
        .await
        .context("cannot list pods")?;
    let mut reports: Vec<_> = agents
        .iter()
        .map(|agent| AgentReport::new(agent, &pods.items))
        .collect();
    reports.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    Ok(reports)
}

/// Waits until every Agent is settled, or `limit` has passed, and returns how they are then. `check` is asked in between
/// whether waiting makes sense.
///
/// # Errors
///
/// The API server does not answer; or the first error of `check`.
pub async fn settle(
    client: &Client,
    limit: Duration,
    mut check: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<AgentReport>> {
    let started = tokio::time::Instant::now();
    let mut last = Vec::new();
    let settled = until("the Agents to settle", limit, async || {
        check()?;
        last = agents(client).await?;
        Ok(last
            .iter()
            .all(AgentReport::is_settled)
            .then_some(()))
    })
    .await;
    match settled {
        // In time, so that it is no mere delay.
        Err(error) if started.elapsed() < limit => Err(error),
        _ => Ok(last),
    }
}

/// The part of the status that is read here. Names are repeated on purpose: what users see is checked, not what our types say.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AgentStatus {
    phase: Option<String>,
    ready: Option<String>,
    observed_generation: Option<i64>,
    images: Vec<ImageReport>,
    conditions: Vec<ConditionReport>,
}

fn is_owned_by(pod: &Pod, agent: &DynamicObject) -> bool {
    agent.uid().is_some_and(|uid| {
        pod.owner_references()
            .iter()
            .any(|owner| owner.uid == uid)
    })
}

fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.spec.iter().flat_map(|spec| {
        spec.containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
    })
}

fn token_env(pod: &Pod) -> Vec<String> {
    let from_secrets = containers(pod)
        .flat_map(|container| container.env.iter().flatten())
        .filter(|env| {
            env.value_from
                .as_ref()
                .is_some_and(|source| source.secret_key_ref.is_some())
        });
    from_secrets
        .map(|env| env.name.clone())
        .collect()
}

fn images(pod: &Pod) -> Vec<ImageReport> {
    let recorded: Vec<ImageReport> = pod
        .annotations()
        .get(IMAGES_ANNOTATION)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    containers(pod)
        .map(|container| {
            let decision = recorded
                .iter()
                .find(|decision| decision.container == container.name)
                .cloned()
                .unwrap_or_default();
            ImageReport {
                container: container.name.clone(),
                image: container
                    .image
                    .clone()
                    .unwrap_or_default(),
                image_pull_policy: container.image_pull_policy.clone(),
                ..decision
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn agent(status: &Value) -> DynamicObject {
        let agent = json!({
            "apiVersion": "agentkube.io/v1alpha1",
            "kind": "Agent",
            "metadata": {"namespace": "n", "name": "a", "uid": "1", "generation": 2},
            "status": status,
        });
        serde_json::from_value(agent).unwrap()
    }

    fn pod(owner: &str) -> Pod {
        let images = json!([{"container": "agent", "component": "Codex", "image": "other", "source": "mirror", "variable": "V"}]);
        let from_secret = json!({"secretKeyRef": {"name": "s", "key": "k"}});
        let pod = json!({
            "metadata": {
                "namespace": "n",
                "name": "a",
                "annotations": {"agentkube.io/images": images.to_string()},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Agent", "name": "a", "uid": owner}],
            },
            "spec": {
                "nodeName": "node-1",
                "containers": [{
                    "name": "agent",
                    "image": "live",
                    "imagePullPolicy": "Always",
                    "env": [{"name": "TOKEN", "valueFrom": from_secret}, {"name": "MODE", "value": "x"}],
                }],
                "initContainers": [{"name": "setup", "image": "own"}],
            },
        });
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn images_are_those_of_the_live_pod_and_reasons_those_of_the_record() {
        let report = AgentReport::new(&agent(&json!({"phase": "Running"})), &[pod("2"), pod("1")]);
        let report = serde_json::to_value(report).unwrap();
        assert_eq!(
            report["images"],
            json!([
                {"container": "agent", "component": "Codex", "image": "live", "imagePullPolicy": "Always", "source": "mirror", "variable": "V"},
                {"container": "setup", "component": null, "image": "own", "imagePullPolicy": null, "source": null, "variable": null},
            ])
        );
        assert_eq!(report["tokenEnv"], json!(["TOKEN"]));
        assert_eq!(report["pod"], "a");
        assert_eq!(report["node"], "node-1");
    }

    #[test]
    fn without_a_pod_of_its_own_the_status_says_what_would_run() {
        let images = json!([{"container": "agent", "component": "Codex", "image": "wish", "source": "default"}]);
        let status = json!({"phase": "Paused", "images": images});
        let report = AgentReport::new(&agent(&status), &[pod("2")]);
        let report = serde_json::to_value(report).unwrap();
        assert_eq!(report["images"][0]["image"], "wish");
        assert_eq!(report["images"][0]["imagePullPolicy"], Value::Null);
        assert_eq!(report["images"][0]["variable"], Value::Null);
        assert_eq!(report["pod"], Value::Null);
    }

    #[test]
    fn an_agent_is_settled_when_its_status_is_current_and_final() {
        let is_settled = |generation: u8, phase: &str, ready: &str| {
            let status = json!({"observedGeneration": generation, "phase": phase, "ready": ready});
            AgentReport::new(&agent(&status), &[]).is_settled()
        };
        assert!(is_settled(2, "Running", "1/1"));
        assert!(is_settled(2, "Paused", "0/0"));
        assert!(is_settled(2, "Failed", "0/1"));
        assert!(!is_settled(1, "Running", "1/1"));
        assert!(!is_settled(2, "Running", "0/1"));
        assert!(!is_settled(2, "Pending", "0/1"));
        assert!(!AgentReport::new(&agent(&json!(null)), &[]).is_settled());
    }
}
