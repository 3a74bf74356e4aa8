//! From Agents and custom Tools to their pods and their status.
//!
//! ```text
//! [ Agent ] ─┐                        ┌─ create ─> [ Pod ]
//! [ Tool  ] ─┼─ watch ─> [ Subject ] ─┤
//! [ Pod   ] ─┘                        └─ patch ──> [ Status ]
//! ```
//!
//! One replica leads, by the Lease [`LEASE`]; only that one watches and writes. Invariant: a pod is
//! never updated and never deleted here. Owner references let Kubernetes collect it, and whoever
//! wants a new one deletes the old one.
//!
//! The images of a pod are placeholders: which image runs is decided by admission, recorded on the
//! pod, and only reported here.

mod agents;
mod backoff;
mod leader;
mod observed;
mod pod;
mod reconcile;
mod status;
mod subject;
mod tools;
mod verdict;
mod watch;

#[cfg(test)]
mod fixtures;

pub use leader::{LEASE, LEASE_DURATION, RENEW_GRACE};
pub use pod::{agent_pod, tool_pod};

use std::{future::Future, sync::Arc};

use kube::{
    Client,
    runtime::events::{Recorder, Reporter},
};

use crate::{
    admission::Policy,
    api::{Agent, MANAGER, Tool},
};

/// The label, and its value, by which the leader finds its own pods.
const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
const MANAGED_BY: &str = "agentkube";

/// Stands for leadership and, while it leads, turns Agents into pods and reports on them, until
/// `shutdown`. Then the Lease is released, so that another replica leads at once.
///
/// `namespace` holds the Lease; `identity` tells this replica from the others, and is best the name
/// of its pod, because a restarted container then goes on leading. `on_leadership` is called with
/// every change.
///
/// RBAC, in every namespace: `list`, `watch` on agents and tools; `patch` on agents/status and
/// tools/status; `get`, `list`, `watch`, `create` on pods; `create`, `patch` on events of
/// events.k8s.io; `update` on agents/finalizers and tools/finalizers where the API server enforces
/// permissions on owner references. In the own namespace: `create`, and for the Lease by its name
/// `get`, `update`, on leases.
pub async fn run(
    client: Client,
    policy: Arc<Policy>,
    namespace: &str,
    identity: String,
    on_leadership: impl Fn(bool),
    shutdown: impl Future<Output = ()>,
) {
    let reporter = Reporter {
        controller: MANAGER.to_owned(),
        instance: Some(identity.clone()),
    };
    let candidate = leader::Candidate::new(client.clone(), namespace, identity);
    let lead = || lead(client.clone(), policy.clone(), reporter.clone());
    candidate
        .run(on_leadership, lead, shutdown)
        .await;
}

/// Does the leader's work, until it is dropped. Everything runs inside this one future, so that
/// nothing goes on when leadership is lost.
async fn lead(client: Client, policy: Arc<Policy>, reporter: Reporter) {
    let watch::Watched {
        stores,
        agents,
        tools,
        watches,
    } = watch::watch(&client);
    let recorder = Recorder::new(client.clone(), reporter);
    let leader = Arc::new(reconcile::Leader {
        client,
        policy,
        recorder,
        stores,
    });
    let agents = reconcile::run::<Agent>(leader.clone(), leader.stores.agents.clone(), agents);
    let tools = reconcile::run::<Tool>(leader.clone(), leader.stores.tools.clone(), tools);
    futures::join!(watches, agents, tools);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_send<T: Send>(value: T) -> T {
        value
    }

    #[tokio::test]
    async fn it_can_be_spawned_and_stops_when_told_to() {
        let api = fixtures::Api::default();
        let shutdown = std::future::ready(());
        let run = run(
            api.client(),
            Arc::default(),
            "agentkube-system",
            "me".into(),
            |_| {},
            shutdown,
        );
        assert_send(run).await;
    }
}
