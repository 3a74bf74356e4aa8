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

/// The objects that a decision depends on, as far as they exist.
#[derive(Clone, Debug, Default)]
pub struct FoundOwners {
    agent: Option<Arc<AgentFacts>>,
    tool: Option<Arc<ToolFacts>>,
}

/// Why an object could not be looked up: whether it exists is not known.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The API server refused or failed.
    #[error("{kind} {name} could not be read from the API server: {source}")]
    Api {
        /// Kind of the object.
        kind: &'static str,
        /// Its name, as a message shows it.
        name: String,
        /// What the client said.
        source: Box<kube::Error>,
    },
    /// The API server did not answer within the request's deadline.
    #[error(
        "{kind} {name} could not be read from the API server within the deadline of the request"
    )]
    Deadline {
        /// Kind of the object.
        kind: &'static str,
        /// Its name, as a message shows it.
        name: String,
    },
    /// The object is there, and this version cannot read it. Asking again changes nothing.
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
    /// The same, borrowed, as a decision takes it.
    #[must_use]
    pub fn owners(&self) -> Owners<'_> {
        Owners {
            agent: self.agent.as_deref(),
            tool: self.tool.as_deref(),
        }
    }
}

impl Index {
    /// Looks up what a decision depends on. What the store does not know, or knows in another state
    /// than is wanted, is read live, until the deadline; then it is as it is.
    ///
    /// RBAC: `get` on agents and tools.
    ///
    /// # Errors
    ///
    /// [`LookupError`] where a live read was needed and failed; an object that does not exist is
    /// no error.
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
        // One that could not be read may have been mended since.
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
