use std::{collections::HashSet, fmt::Debug, sync::Arc};

use kube::{
    Api, Client, Resource, ResourceExt, core::NamespaceResourceScope, runtime::watcher::Event,
};
use serde::de::DeserializeOwned;

use super::{
    Store,
    store::{IndexEntry, ObjectKey},
};
use crate::{
    admission::{AgentFacts, ObjectState, ToolFacts},
    api::{Agent, Readable, Tool},
    watch::UnreadableObjects,
};

/// A kind of object with facts in the index.
pub(super) trait Indexed: Sized {
    type Object: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static;

    fn of(object: &Self::Object) -> Self;

    /// The state of the object that the facts were taken from.
    fn state(&self) -> ObjectState<'_>;
}

impl Indexed for AgentFacts {
    type Object = Agent;

    fn of(object: &Agent) -> Self {
        object.into()
    }

    fn state(&self) -> ObjectState<'_> {
        self.state()
    }
}

impl Indexed for ToolFacts {
    type Object = Tool;

    fn of(object: &Tool) -> Self {
        object.into()
    }

    fn state(&self) -> ObjectState<'_> {
        self.state()
    }
}

/// Keeps a store up to date; runs until it is dropped.
pub(super) async fn watch<F: Indexed>(
    client: Client,
    store: &Store<F>,
    kind: &'static str,
    unreadable: &UnreadableObjects,
) {
    let api: Api<Readable<F::Object>> = Api::all(client);
    let mut listed = HashSet::new();
    let mut unreadable = unreadable.of(kind);
    let ignore = |_: &mut Readable<F::Object>| {};
    crate::watch::follow(api, crate::watch::everything(), ignore, |event| {
        unreadable.see(&event);
        apply(event, store, &mut listed);
    })
    .await;
}

fn apply<F: Indexed>(
    event: Event<Readable<F::Object>>,
    store: &Store<F>,
    listed: &mut HashSet<ObjectKey>,
) {
    match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) => {
            let key = key(&object);
            store.insert(key.clone(), entry(&object));
            listed.insert(key);
        }
        Event::InitDone => store.finish_list(&std::mem::take(listed)),
        Event::Apply(object) => store.insert(key(&object), entry(&object)),
        Event::Delete(object) => store.remove(&key(&object)),
    }
}

/// The entry of an object.
pub(super) fn entry<F: Indexed>(object: &Readable<F::Object>) -> IndexEntry<F> {
    match object {
        Readable::Read(object) => IndexEntry::Facts(Arc::new(F::of(object))),
        Readable::Unread(unread) => IndexEntry::Unreadable(unread.field.as_str().into()),
    }
}

fn key<K: Resource>(object: &K) -> ObjectKey {
    ObjectKey {
        namespace: object
            .namespace()
            .unwrap_or_default()
            .into(),
        name: object.name_any().into(),
    }
}
