//! What every replica knows of Agents and Tools: the facts that admission reads.
//!
//! `[ watch ] -> [ Store ] <- [ Index ] -> [ live read, where the store is behind ]`
//!
//! An object that this version cannot read is known by its name, so that its pods are refused and everything
//! else goes on.
//!
//! Invariant: a lookup that asks for one state of an object never answers from the store with
//! another one. What the store does not know, or knows otherwise, is read from the API server.

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
    /// Facts of every Agent.
    pub agents: Store<AgentFacts>,
    /// Facts of every Tool.
    pub tools: Store<ToolFacts>,
}

impl Index {
    /// Keeps the index up to date; runs until it is dropped. What cannot be read is counted in
    /// `unreadable`.
    ///
    /// RBAC: `get`, `list`, `watch` on agents and tools of every namespace.
    pub async fn watch(&self, client: Client, unreadable: &UnreadableObjects) {
        futures::join!(
            watch::watch(client.clone(), &self.agents, "Agent", unreadable),
            watch::watch(client, &self.tools, "Tool", unreadable),
        );
    }

    /// Whether the first lists have arrived; before that, every lookup is a live read.
    #[must_use]
    pub(crate) fn is_synced(&self) -> bool {
        self.agents.is_synced() && self.tools.is_synced()
    }
}
