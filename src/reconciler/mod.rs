//! From Agents and custom Tools to their pods and their status.
//!
//! ```text
//! [ Agent ] ─┐                           ┌─ create ─> [ Pod ]
//! [ Tool  ] ─┼─ watch ─> [ Reconciled ] ─┤
//! [ Pod   ] ─┘                           └─ patch ──> [ Status ]
//! ```
//!
//! Only the replica that leads ([`crate::leader`]) watches and writes. Invariant: a pod is never
//! updated and never deleted here. Owner references let Kubernetes collect it, and whoever
//! wants a new one deletes the old one.
//!
//! The images of a pod are placeholders: which image runs is decided by admission, recorded on the
//! pod, and only reported here.

mod agents;
mod backoff;
mod burst;
mod events;
mod memory;
mod owner;
mod reconcile;
mod reconciled;
mod status;
mod tools;

#[cfg(test)]
mod fixtures;

use std::sync::Arc;

use kube::{Client, runtime::events::Reporter};

use crate::{
    admission::Policy,
    api::{Agent, MANAGER, Tool},
    watch::UnreadableObjects,
};

/// Turns Agents into pods and reports on them, until it is dropped. To be run by the leader only:
/// everything happens inside this one future, so that nothing goes on when leadership is lost.
///
/// `instance` names this replica in Events. Pods that cannot be read are counted in `unreadable`; Agents and
/// Tools are counted by the index.
///
/// RBAC, in every namespace: `list`, `watch` on agents and tools; `patch` on agents/status and
/// tools/status; `get`, `list`, `watch`, `create` on pods; `create`, `patch` on events of
/// events.k8s.io; `update` on agents/finalizers and tools/finalizers where the API server enforces
/// permissions on owner references.
pub(crate) async fn run(
    client: Client,
    policy: Arc<Policy>,
    instance: String,
    unreadable: &UnreadableObjects,
) {
    let memory::watch::LeaderWatches {
        stores,
        agents,
        tools,
        watches,
    } = memory::watch::watch(&client, unreadable.of("Pod"));
    let reporter = Reporter {
        controller: MANAGER.to_owned(),
        instance: Some(instance),
    };
    let recorder = events::EventRecorder::new(client.clone(), reporter);
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
