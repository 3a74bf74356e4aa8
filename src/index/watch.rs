use std::{collections::HashSet, fmt::Debug};

use futures::StreamExt;
use kube::{
    Api, Client, Resource, ResourceExt,
    core::NamespaceResourceScope,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use tracing::{info, warn};

use super::{Store, store::Key};
use crate::{
    admission::{AgentFacts, ToolFacts},
    api::{Agent, Tool},
};

/// A kind of object that is indexed by its facts.
pub(super) trait Indexed: Sized {
    type Object: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static;

    fn of(object: &Self::Object) -> Self;

    /// `metadata.generation` of the object that the facts were taken from.
    fn generation(&self) -> i64;
}

impl Indexed for AgentFacts {
    type Object = Agent;

    fn of(object: &Agent) -> Self {
        object.into()
    }

    fn generation(&self) -> i64 {
        self.generation
    }
}

impl Indexed for ToolFacts {
    type Object = Tool;

    fn of(object: &Tool) -> Self {
        object.into()
    }

    fn generation(&self) -> i64 {
        self.generation
    }
}

/// Keeps a store up to date; runs until it is dropped.
pub(super) async fn watch<F: Indexed>(client: Client, store: &Store<F>) {
    let kind = F::Object::kind(&());
    let api: Api<F::Object> = Api::all(client);
    let mut events = watcher::watcher(api, watcher::Config::default())
        .default_backoff()
        .boxed();
    let mut listed = HashSet::new();
    let mut is_failing = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if is_failing {
                    info!(%kind, "the watch has recovered");
                    is_failing = false;
                }
                apply(event, store, &mut listed);
            }
            // The watcher retries by itself; once is enough to say so.
            Err(error) if !is_failing => {
                is_failing = true;
                warn!(%kind, %error, hint = hint(&error), "the watch fails, and is tried again");
            }
            Err(_) => {}
        }
    }
}

fn apply<F: Indexed>(event: Event<F::Object>, store: &Store<F>, listed: &mut HashSet<Key>) {
    match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) => {
            let key = key(&object);
            store.insert(key.clone(), F::of(&object));
            listed.insert(key);
        }
        Event::InitDone => store.finish_list(&std::mem::take(listed)),
        Event::Apply(object) => store.insert(key(&object), F::of(&object)),
        Event::Delete(object) => store.remove(&key(&object)),
    }
}

fn key<K: Resource>(object: &K) -> Key {
    Key {
        namespace: object
            .namespace()
            .unwrap_or_default()
            .into(),
        name: object.name_any().into(),
    }
}

fn hint(error: &watcher::Error) -> &'static str {
    let (watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) =
        error
    else {
        return "";
    };
    match error {
        kube::Error::Api(status) if status.code == 404 => {
            "install the CRDs: kubectl apply -k manifests/"
        }
        kube::Error::Api(status) if status.code == 403 => {
            "grant get, list and watch on it to the ServiceAccount agentkube-manager: manifests/rbac.yaml does"
        }
        _ => "",
    }
}
