//! What is measured on: a control plane, agentkube as it is shipped, and a release build of the manager.

use std::{path::PathBuf, time::Duration};

use agentkube::api::Agent;
use agentkube_playground::{
    Binaries, ControlPlane, ControlPlaneOptions, Installation, Manager, ManagerOptions, free_ports,
    until, webhook_authority,
};
use anyhow::Context;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    load::{Ask, Target},
    process::cpu,
};

/// How long something small may take on a machine that is busy.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// How long something may take that has thousands of objects to go through.
pub(super) const LONG_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Where images come from, for us and for the policies that we are compared with.
const MIRROR: &str = "registry.example.com/exo-mirror";

/// How many connections put objects there.
const WRITERS: usize = 8;

pub(super) struct Stage {
    // Dropped in this order.
    pub(super) manager: Option<Manager>,
    pub(super) control_plane: ControlPlane,
    pub(super) installation: Installation,
    pub(super) api: Target,
    binary: PathBuf,
    port: u16,
}

impl Stage {
    /// A control plane with agentkube installed and no manager yet.
    pub(super) async fn without_manager(binary: &std::path::Path) -> anyhow::Result<Self> {
        let binaries = Binaries::locate().await?;
        let options = ControlPlaneOptions {
            nodes: 8,
            // Thousands of pods are put away between two rounds.
            extra_apiserver_args: vec!["--delete-collection-workers=8".to_owned()],
        };
        let control_plane = ControlPlane::start(&binaries, options).await?;
        let [port] = free_ports()?;
        let installation = Installation::apply(&control_plane, port).await?;
        Ok(Self {
            manager: None,
            api: Target::api_server(&control_plane)?,
            control_plane,
            installation,
            binary: binary.to_owned(),
            port,
        })
    }

    /// The same with a manager whose webhooks answer.
    pub(super) async fn with_manager(binary: &std::path::Path) -> anyhow::Result<Self> {
        let mut stage = Self::without_manager(binary).await?;
        stage.start_answering_manager().await?;
        Ok(stage)
    }

    /// The manager that the registrations point to, with a mirror and its registry as the only one allowed.
    pub(super) fn manager_options(&self) -> ManagerOptions {
        ManagerOptions {
            webhook_port: Some(self.port),
            env: [
                ("AGENTKUBE_IMAGE_REGISTRY", MIRROR),
                ("AGENTKUBE_ALLOWED_REGISTRIES", MIRROR),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            ..ManagerOptions::new(&self.binary)
        }
    }

    /// Starts it, and waits until it is ready.
    pub(super) async fn start_manager(&mut self) -> anyhow::Result<&Manager> {
        let manager = Manager::start(&self.control_plane, self.manager_options()).await?;
        Ok(self.manager.insert(manager))
    }

    pub(super) async fn stop_manager(&mut self) {
        if let Some(mut manager) = self.manager.take() {
            manager.stop().await;
        }
    }

    pub(super) fn manager(&self) -> anyhow::Result<&Manager> {
        self.manager
            .as_ref()
            .context("no manager runs")
    }

    /// The webhooks of a manager, past the API server. The authority is there once a manager was ready.
    pub(super) async fn webhooks(&self, port: u16) -> anyhow::Result<Target> {
        let authority = webhook_authority(self.control_plane.client()).await?;
        Target::new(port, &authority)
    }

    /// Creates a namespace, and waits until pods can be created there.
    pub(super) async fn namespace(&self, name: &str) -> anyhow::Result<()> {
        let client = self.control_plane.client();
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await?;
        let accounts = Api::<ServiceAccount>::namespaced(client, name);
        until("the ServiceAccount `default`", LIMIT, async || {
            Ok(accounts
                .get_opt("default")
                .await?
                .map(drop))
        })
        .await
    }

    /// Puts Agents `agent-FIRST` and on there.
    pub(super) async fn put_agents(
        &self,
        namespace: &str,
        numbers: std::ops::Range<usize>,
        paused: bool,
    ) -> anyhow::Result<()> {
        let path = format!("/apis/agentkube.io/v1alpha1/namespaces/{namespace}/agents");
        let first = numbers.start;
        self.api
            .connect(WRITERS)
            .await?
            .each(numbers.len(), |number| {
                let agent = agent(&agent_name(first + number), paused);
                Ok(Ask::post(&path, agent.to_string()))
            })
            .await?;
        Ok(())
    }

    /// Starts the manager, and waits until the API server reaches it.
    pub(super) async fn start_answering_manager(&mut self) -> anyhow::Result<()> {
        self.start_manager().await?;
        self.installation
            .until_webhooks_answer()
            .await
    }

    /// Creates a namespace with one Agent in it, paused, so that nobody does anything about it.
    pub(super) async fn namespace_of_one(&self, namespace: &str) -> anyhow::Result<Agent> {
        self.namespace(namespace).await?;
        self.put_agents(namespace, 0..1, true)
            .await?;
        self.agent(namespace, &agent_name(0))
            .await
    }

    /// One Agent that was put there.
    pub(super) async fn agent(&self, namespace: &str, name: &str) -> anyhow::Result<Agent> {
        let agents = Api::<Agent>::namespaced(self.control_plane.client(), namespace);
        Ok(agents.get(name).await?)
    }

    /// How many objects there are, by their URL.
    pub(super) async fn count(&self, path: &str) -> anyhow::Result<usize> {
        let client = self.control_plane.client();
        let request = http::Request::get(format!("{path}?limit=1")).body(Vec::new())?;
        let list: Value = client.request(request).await?;
        let remaining = list
            .pointer("/metadata/remainingItemCount")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let shown = list
            .pointer("/items")
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        Ok(shown + usize::try_from(remaining)?)
    }

    /// Whether no pod of a namespace is anything but running.
    pub(super) async fn all_pods_run(&self, namespace: &str) -> anyhow::Result<bool> {
        let pods = Api::<k8s_openapi::api::core::v1::Pod>::namespaced(
            self.control_plane.client(),
            namespace,
        );
        let waiting = pods
            .list_metadata(
                &ListParams::default()
                    .fields("status.phase!=Running")
                    .limit(1),
            )
            .await?;
        Ok(waiting.items.is_empty())
    }
}

/// Waits until a process has next to nothing to do for a whole second.
pub(super) async fn until_idle(id: u32) -> anyhow::Result<()> {
    until(
        "the manager to have nothing to do",
        LONG_LIMIT,
        async || {
            let before = cpu(id)?;
            sleep(Duration::from_secs(1)).await;
            Ok((cpu(id)?.saturating_sub(before) < Duration::from_millis(30)).then_some(()))
        },
    )
    .await
}

pub(super) fn agent_name(number: usize) -> String {
    format!("agent-{number}")
}

/// An Agent as users write them.
pub(super) fn agent(name: &str, paused: bool) -> Value {
    json!({
        "apiVersion": "agentkube.io/v1alpha1",
        "kind": "Agent",
        "metadata": {"name": name, "labels": {"agentkube.io/agentgroup": "support-team"}},
        "spec": {
            "runtime": "ClaudeCode",
            "mode": "supervised",
            "paused": paused,
            "goal": {"inline": "Triage incoming GitHub issues: fetch new ones hourly, label, assign."},
            "model": {"name": "claude-opus-4-7", "provider": "anthropic"},
            "agentToken": {"secretRef": {"name": "claude-code-token", "key": "token"}},
            "sessionRecording": {"enabled": true},
        },
    })
}
