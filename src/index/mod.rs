//! The facts about Agents and Tools that admission reads, kept in memory by every replica.
//!
//! `[ watch ] -> [ Store ] <- [ Index ] -> [ live read, where the store is behind ]`
//!
//! An object that this version cannot read is kept by its name, so only its pods are refused.
//!
//! Invariant: a lookup for one state of an object never returns another state from the store. If
//! the store lacks the object or has another state, it is read from the API server.

mod lookup;
mod store;
mod watch;

pub(crate) use lookup::{FoundOwners, LookupError};
pub(crate) use store::Store;

pub(crate) use crate::watch::UnreadableObjects;

use kube::Client;

use crate::admission::{AgentFacts, ToolFacts};

/// The Agents and Tools of the cluster.
#[derive(Debug, Default)]
pub struct Index {
    /// The facts about every Agent.
    pub agents: Store<AgentFacts>,
    /// The facts about every Tool.
    pub tools: Store<ToolFacts>,
}

impl Index {
    /// Keeps the index up to date; runs until it is dropped. Unreadable objects are counted in
    /// `unreadable`.
    ///
    /// RBAC: `get`, `list`, `watch` on agents and tools of every namespace.
    pub async fn watch(&self, client: Client, unreadable: &UnreadableObjects) {
        futures::join!(
            watch::watch(client.clone(), &self.agents, "Agent", unreadable),
            watch::watch(client, &self.tools, "Tool", unreadable),
        );
    }

    /// True once the first lists have arrived. Before that, every lookup is a live read.
    #[must_use]
    pub(crate) fn is_synced(&self) -> bool {
        self.agents.is_synced() && self.tools.is_synced()
    }
}
