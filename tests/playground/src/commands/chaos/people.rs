//! People who create Agents all the time, and delete some.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use kube::{
    Api, Client, Config, Error,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, PostParams},
};
use serde_json::json;
use tokio::{task::JoinHandle, time::sleep};

/// The namespace in which people create Agents, and the load its pods.
pub(super) const NAMESPACE: &str = "chaos";
/// The pause between two Agents, and before somebody who was refused tries again.
const PAUSE: Duration = Duration::from_millis(300);
/// Every so many Agents, an older one is deleted.
const EVERY: usize = 5;

/// Somebody who goes on until they are told to stop.
pub(super) struct People {
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl People {
    /// Creates the paused Agent `first`, and then others that are armed.
    pub(super) async fn start(
        config: Config,
        namespace: &str,
        first: &str,
    ) -> anyhow::Result<Self> {
        let agents = agents(Client::try_from(config)?, namespace);
        let mut paused = agent(first);
        paused.data = json!({"spec": {"runtime": "Codex", "paused": true}});
        agents
            .create(&PostParams::default(), &paused)
            .await?;
        let stop = Arc::<AtomicBool>::default();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                create(&agents, number).await;
                if number % EVERY == EVERY - 1 {
                    // Who cannot be deleted now stays.
                    let old = format!("bot-{}", number / 2);
                    let _ = agents
                        .delete(&old, &DeleteParams::default())
                        .await;
                }
                sleep(PAUSE).await;
            }
        });
        Ok(Self { stop, task })
    }

    /// Lets them finish what they have begun.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.task
            .await
            .context("the task that creates Agents panicked")
    }
}

/// Creates an Agent, and tries again until it is there.
async fn create(agents: &Api<DynamicObject>, number: usize) {
    let agent = agent(&format!("bot-{number}"));
    loop {
        match agents
            .create(&PostParams::default(), &agent)
            .await
        {
            Ok(_) => return,
            Err(Error::Api(status)) if status.is_already_exists() => return,
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// The Agents of a namespace.
pub(super) fn agents(client: Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client, namespace, &resource())
}

/// An armed Agent.
pub(super) fn agent(name: &str) -> DynamicObject {
    let mut agent = DynamicObject::new(name, &resource());
    agent.data = json!({"spec": {"runtime": "Codex", "paused": false}});
    agent
}

pub(super) fn resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("agentkube.io", "v1alpha1", "Agent");
    ApiResource::from_gvk_with_plural(&kind, "agents")
}
