use std::{future::Future, sync::Arc};

use kube::{Api, Client};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use super::{
    Index, Store,
    store::IndexEntry,
    watch::{Indexed, entry},
};
use crate::{
    admission::{AgentFacts, Owners, ToolFacts, Wanted, Wants, credential::quote},
    api::Readable,
};

/// The Agent and the Tool of a decision, if they exist.
#[derive(Clone, Debug, Default)]
pub struct FoundOwners {
    agent: Option<Arc<AgentFacts>>,
    tool: Option<Arc<ToolFacts>>,
}

/// The reason why a lookup failed, so that the existence of the object is unknown.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The API server refused or failed.
    #[error("{kind} {name} could not be read from the API server: {source}")]
    Api {
        /// Kind of the object.
        kind: &'static str,
        /// Its name, as messages show it.
        name: String,
        /// The error of the client.
        source: Box<kube::Error>,
    },
    /// The API server did not answer before the request's deadline.
    #[error("the API server did not return {kind} {name} in time")]
    Deadline {
        /// Kind of the object.
        kind: &'static str,
        /// Its name, as messages show it.
        name: String,
    },
    /// The object exists, but this version cannot read it. A retry does not help.
    #[error("this version cannot read {field} of {kind} {}", quote(.name))]
    Unreadable {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The path of the field that cannot be read.
        field: String,
    },
}

impl FoundOwners {
    /// The same, borrowed, for a decision.
    #[must_use]
    pub fn owners(&self) -> Owners<'_> {
        Owners {
            agent: self.agent.as_deref(),
            tool: self.tool.as_deref(),
        }
    }
}

impl Index {
    /// Looks up the objects that a decision depends on. An object that the store lacks, or has in
    /// another state than wanted, is read from the API server, until the deadline; then its current
    /// state is returned.
    ///
    /// RBAC: `get` on agents and tools.
    ///
    /// # Errors
    ///
    /// [`LookupError`] if a read from the API server failed. A missing object is not an error.
    pub async fn find(
        &self,
        client: &Client,
        namespace: &str,
        wants: Wants<'_>,
        deadline: Instant,
    ) -> Result<FoundOwners, LookupError> {
        let find = Finder {
            client,
            namespace,
            deadline,
        };
        Ok(FoundOwners {
            agent: find
                .one(&self.agents, wants.agent, "Agent")
                .await?,
            tool: find
                .one(&self.tools, wants.tool, "Tool")
                .await?,
        })
    }
}

struct Finder<'a> {
    client: &'a Client,
    namespace: &'a str,
    deadline: Instant,
}

impl Finder<'_> {
    async fn one<F: Indexed>(
        &self,
        store: &Store<F>,
        wanted: Option<Wanted<'_>>,
        kind: &'static str,
    ) -> Result<Option<Arc<F>>, LookupError> {
        let Some(wanted) = wanted else {
            return Ok(None);
        };
        // An unreadable object may have been corrected since.
        if let Some(IndexEntry::Facts(facts)) = store.look(self.namespace, wanted.name)
            && wanted
                .state
                .is_none_or(|state| facts.state() == state)
        {
            return Ok(Some(facts));
        }
        let api: Api<Readable<F::Object>> = Api::namespaced(self.client.clone(), self.namespace);
        let object = self
            .in_time(api.get_opt(wanted.name), kind, wanted.name)
            .await?;
        match object.as_ref().map(entry) {
            Some(IndexEntry::Facts(facts)) => Ok(Some(facts)),
            Some(IndexEntry::Unreadable(field)) => Err(LookupError::Unreadable {
                kind,
                name: wanted.name.to_owned(),
                field: (*field).to_owned(),
            }),
            None => Ok(None),
        }
    }

    async fn in_time<T>(
        &self,
        read: impl Future<Output = Result<T, kube::Error>>,
        kind: &'static str,
        name: &str,
    ) -> Result<T, LookupError> {
        match timeout_at(self.deadline, read).await {
            Ok(Ok(object)) => Ok(object),
            Ok(Err(source)) => Err(LookupError::Api {
                kind,
                name: quote(name),
                source: Box::new(source),
            }),
            Err(_) => Err(LookupError::Deadline {
                kind,
                name: quote(name),
            }),
        }
    }
}
