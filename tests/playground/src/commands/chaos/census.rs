//! Whether every Agent has what it should have.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use agentkube::images::{ImageSettings, Runtime, resolve};
use agentkube_playground::until;
use anyhow::Context;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
};
use serde::Serialize;

use super::people;

/// The Agents and their pods, when everything had time to settle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Census {
    /// Armed Agents, but for those in namespaces that are being deleted or gone.
    agents: usize,
    /// Those without a pod.
    pods_missing: usize,
    /// Those with more pods than one, and pods of Agents that are gone.
    pods_double: usize,
    /// Pods whose agent runs another image than the rules say.
    images_wrong: usize,
}

/// What an Agent of the runtime that everybody uses here runs.
pub(super) fn image() -> anyhow::Result<String> {
    let settings = ImageSettings::default();
    let codex: Runtime = "Codex".parse()?;
    let resolution = resolve(codex.component(), None, &settings).context("Codex has an image")?;
    Ok(resolution.image.into())
}

impl Census {
    /// Counts again and again until all is well, or `limit` has passed.
    ///
    /// # Errors
    ///
    /// The API server does not answer.
    pub(super) async fn take(client: &Client, limit: Duration) -> anyhow::Result<Self> {
        let mut last = Self::default();
        let image = image()?;
        let settled = until("every Agent to have its pod", limit, async || {
            last = Self::count(client, &image).await?;
            Ok(last.is_good().then_some(()))
        })
        .await;
        match settled {
            // It was counted, and the figures say what is missing.
            Err(_) if last != Self::default() => Ok(last),
            other => other.map(|()| last),
        }
    }

    pub(super) fn is_good(&self) -> bool {
        let Self {
            agents: _,
            pods_missing,
            pods_double,
            images_wrong,
        } = *self;
        [pods_missing, pods_double, images_wrong] == [0; 3]
    }

    async fn count(client: &Client, image: &str) -> anyhow::Result<Self> {
        let all = ListParams::default();
        let agents = Api::<DynamicObject>::all_with(client.clone(), &people::resource())
            .list(&all)
            .await?;
        let pods = Api::<Pod>::all(client.clone())
            .list(&all.labels("agentkube.io/agent"))
            .await?;
        // Nobody can create a pod in a namespace that goes, or is gone: an API server that was just
        // restarted does not know the CRDs for a moment, and Kubernetes then finishes a namespace
        // whose Agents are still there.
        let there: HashSet<_> = Api::<Namespace>::all(client.clone())
            .list(&ListParams::default())
            .await?
            .into_iter()
            .filter(|namespace| {
                namespace
                    .metadata
                    .deletion_timestamp
                    .is_none()
            })
            .map(|namespace| namespace.name_any())
            .collect();
        let mut owned = HashMap::<_, usize>::new();
        let mut census = Self::default();
        for pod in &pods {
            let agent = pod
                .owner_references()
                .first()
                .map(|owner| owner.uid.clone());
            *owned
                .entry(agent.unwrap_or_default())
                .or_default() += 1;
            census.images_wrong += usize::from(!runs(pod, image));
        }
        for agent in &agents {
            let pods = owned
                .remove(&agent.uid().unwrap_or_default())
                .unwrap_or_default();
            let is_armed = agent.data.pointer("/spec/paused") == Some(&false.into());
            let is_there = agent
                .namespace()
                .is_some_and(|namespace| there.contains(&namespace));
            if is_armed
                && is_there
                && agent
                    .metadata
                    .deletion_timestamp
                    .is_none()
            {
                census.agents += 1;
                census.pods_missing += usize::from(pods == 0);
            }
            census.pods_double += pods.saturating_sub(1);
        }
        // The garbage collector takes those of Agents that were deleted; what stays is an orphan.
        census.pods_double += owned.values().sum::<usize>();
        Ok(census)
    }
}

/// Whether the container of the agent runs this.
fn runs(pod: &Pod, image: &str) -> bool {
    pod.spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .filter(|container| container.name == "agent")
        .all(|container| container.image.as_deref() == Some(image))
}

impl std::fmt::Display for Census {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            agents,
            pods_missing,
            pods_double,
            images_wrong,
        } = self;
        write!(
            formatter,
            "{agents} armed Agents: {pods_missing} without a pod, {pods_double} surplus pods, \
             {images_wrong} with a wrong image"
        )
    }
}
