//! What can go wrong, and for which calls that is an excuse.

use std::time::{Duration, Instant};

use agentkube_playground::{ControlPlane, Failure, Replicas};
use fastrand::Rng;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;
use tokio::time::sleep;

use super::{
    people::{self, NAMESPACE},
    poison::Poison,
};

/// How long a leader is frozen: longer than its Lease lasts.
const FROZEN: Duration = Duration::from_secs(18);
/// How long etcd is away.
const AWAY: Duration = Duration::from_secs(8);
/// What a call takes at most that a frozen replica does not answer: the `timeoutSeconds` of the registrations, and
/// something for the machine.
const PATIENCE: Duration = Duration::from_secs(7);
/// Between a signal and its effect.
const MOMENT: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    ApiServerRestarted,
    EtcdStopped,
    HistoryCompacted,
    LeaderFrozen,
    LeaderKilled,
    NamespaceDeleted,
    PodsDeleted,
    Poisoned,
    ReplicaKilled,
    Rollout,
}

impl Fault {
    pub(super) const ALL: [Self; 10] = [
        Self::ApiServerRestarted,
        Self::EtcdStopped,
        Self::HistoryCompacted,
        Self::LeaderFrozen,
        Self::LeaderKilled,
        Self::NamespaceDeleted,
        Self::PodsDeleted,
        Self::Poisoned,
        Self::ReplicaKilled,
        Self::Rollout,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ApiServerRestarted => "apiServerRestarted",
            Self::EtcdStopped => "etcdStopped",
            Self::HistoryCompacted => "historyCompacted",
            Self::LeaderFrozen => "leaderFrozen",
            Self::LeaderKilled => "leaderKilled",
            Self::NamespaceDeleted => "namespaceDeleted",
            Self::PodsDeleted => "podsDeleted",
            Self::Poisoned => "poisoned",
            Self::ReplicaKilled => "replicaKilled",
            Self::Rollout => "rollout",
        }
    }
}

/// A span of time within which a call could not have been answered whatever we do, because what it was on is gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Excuse {
    from: Instant,
    to: Instant,
}

impl Excuse {
    /// Whether a call was under way then.
    pub(super) fn covers(&self, failure: &Failure) -> bool {
        failure.from <= self.to && self.from <= failure.to
    }
}

/// What faults happen to.
pub(super) struct Ground<'c> {
    pub(super) control_plane: &'c ControlPlane,
    pub(super) replicas: Replicas,
    pub(super) rng: Rng,
}

impl Ground<'_> {
    /// Lets a fault happen, and returns once it is over.
    ///
    /// # Errors
    ///
    /// What it hit does not come back.
    pub(super) async fn strike(&mut self, fault: Fault) -> anyhow::Result<Option<Excuse>> {
        let from = Instant::now();
        let until_now = || {
            Some(Excuse {
                from,
                to: Instant::now(),
            })
        };
        match fault {
            Fault::ApiServerRestarted => {
                self.control_plane
                    .restart_apiserver()
                    .await?;
                Ok(until_now())
            }
            Fault::EtcdStopped => {
                self.control_plane.stop_etcd().await;
                sleep(AWAY).await;
                self.control_plane.start_etcd().await?;
                Ok(None)
            }
            Fault::HistoryCompacted => {
                self.control_plane.compact().await?;
                self.control_plane
                    .restart_apiserver()
                    .await?;
                Ok(until_now())
            }
            Fault::LeaderFrozen => {
                let leader = self.replicas.leader().await?;
                if let Some(leader) = self.replicas.running().get_mut(leader) {
                    leader.pause();
                    sleep(FROZEN).await;
                    leader.resume();
                }
                Ok(Some(Excuse {
                    from,
                    to: Instant::now() + PATIENCE,
                }))
            }
            Fault::LeaderKilled => {
                let leader = self.replicas.leader().await?;
                self.kill(leader).await
            }
            Fault::ReplicaKilled => {
                let count = self.replicas.running().len();
                let index = self.rng.usize(..count);
                self.kill(index).await
            }
            Fault::NamespaceDeleted => {
                self.delete_namespace().await?;
                Ok(None)
            }
            Fault::PodsDeleted => {
                self.delete_pods().await?;
                Ok(None)
            }
            Fault::Poisoned => {
                self.poison().await?;
                Ok(None)
            }
            Fault::Rollout => {
                for _ in 0..self.replicas.running().len() {
                    self.replicas
                        .roll(self.control_plane)
                        .await?;
                }
                Ok(None)
            }
        }
    }

    async fn kill(&mut self, index: usize) -> anyhow::Result<Option<Excuse>> {
        let from = Instant::now();
        self.replicas
            .replace_killed(self.control_plane, index)
            .await?;
        Ok(Some(Excuse {
            from,
            to: from + MOMENT,
        }))
    }

    /// Puts in what cannot be read and what is large, has a replica start beside it, and takes it out.
    async fn poison(&mut self) -> anyhow::Result<()> {
        let client = self.control_plane.client();
        let poison = Poison::new(self.rng.u32(..));
        poison.spread(&client).await?;
        let rolled = self
            .replicas
            .roll(self.control_plane)
            .await;
        poison.remove(&client).await;
        rolled
    }

    /// Deletes a namespace while Agents are created in it.
    async fn delete_namespace(&mut self) -> anyhow::Result<()> {
        let name = format!("going-{}", self.rng.u32(..));
        let client = self.control_plane.client();
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        namespaces
            .create(&PostParams::default(), &namespace)
            .await?;
        let agents = people::agents(client, &name);
        for index in 0..20 {
            // Refused from some moment on.
            let _ = agents
                .create(
                    &PostParams::default(),
                    &people::agent(&format!("bot-{index}")),
                )
                .await;
            if index == 10 {
                namespaces
                    .delete(&name, &DeleteParams::default())
                    .await?;
            }
        }
        Ok(())
    }

    /// Deletes some pods of Agents, which get others.
    async fn delete_pods(&mut self) -> anyhow::Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.control_plane.client(), NAMESPACE);
        let mut found = pods
            .list(&ListParams::default())
            .await?
            .items;
        self.rng.shuffle(&mut found);
        for pod in found.iter().take(10) {
            // Its Agent may have been deleted meanwhile.
            let _ = pods
                .delete(&pod.name_any(), &DeleteParams::default())
                .await;
        }
        Ok(())
    }
}
