//! The reconciler: Agents and custom Tools get their pods and their status.
//!
//! ```text
//! [ Agent ] ─┐                           ┌─ create ─> [ Pod ]
//! [ Tool  ] ─┼─ watch ─> [ Reconciled ] ─┤
//! [ Pod   ] ─┘                           └─ patch ──> [ Status ]
//! ```
//!
//! Only the leading replica ([`crate::leader`]) watches and writes. Invariant: a pod is never
//! updated and never deleted here. Kubernetes collects it by its owner reference, and users delete
//! a pod to get a new one.
//!
//! The images of a pod are placeholders. Admission chooses the real ones and records them on the
//! pod; they are only reported here.

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

/// Turns Agents into pods and reports on them, until it is dropped. Only the leader runs it. All
/// work happens inside this one future, so it stops when leadership is lost.
///
/// `instance` names this replica in Events. Unreadable pods are counted in `unreadable`; the index
/// counts unreadable Agents and Tools.
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
