//! The queue of objects of a kind to reconcile.
//!
//! Names are produced one by one as the applier takes them. After a list all objects have to be
//! reconciled, and tens of thousands of names would take as much memory as the packed objects.
//! Other tasks can run between two of them.

use futures::{
    Stream, StreamExt,
    channel::mpsc::{UnboundedSender, unbounded},
    future::Either,
    stream,
};
use kube::{
    Resource, ResourceExt,
    runtime::reflector::{ObjectRef, Store},
};
use tokio::task::yield_now;

/// The sender for objects to reconcile.
pub(in crate::reconciler) struct Queue<K: Resource<DynamicType = ()>>(UnboundedSender<Requeue<K>>);

enum Requeue<K: Resource<DynamicType = ()>> {
    All,
    One(ObjectRef<K>),
}

/// Creates a queue, and the stream of names that come out of it.
pub(in crate::reconciler) fn queue<K>(
    store: Store<K>,
) -> (Queue<K>, impl Stream<Item = ObjectRef<K>>)
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let (sender, entries) = unbounded();
    let names = entries
        .flat_map(move |entry| match entry {
            Requeue::One(name) => Either::Left(stream::iter([name])),
            Requeue::All => {
                let objects = store.state().into_iter();
                Either::Right(stream::iter(objects.map(|object| name_of(&*object))))
            }
        })
        .then(async |name| {
            yield_now().await;
            name
        });
    (Queue(sender), names)
}

impl<K: Resource<DynamicType = ()>> Queue<K> {
    pub(in crate::reconciler) fn push(&self, name: ObjectRef<K>) {
        self.send(Requeue::One(name));
    }

    /// Queues every object that is in the store when its turn comes.
    pub(in crate::reconciler) fn push_all(&self) {
        self.send(Requeue::All);
    }

    fn send(&self, entry: Requeue<K>) {
        // The receiver is only dropped together with the watches.
        let _ = self.0.unbounded_send(entry);
    }
}

/// A reference with only the namespace and name.
pub(in crate::reconciler) fn name_of<K: ResourceExt<DynamicType = ()>>(object: &K) -> ObjectRef<K> {
    ObjectRef::new(&object.name_any()).within(&object.namespace().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;

    use super::*;
    use crate::{api::Agent, reconciler::fixtures::agent};

    #[tokio::test]
    async fn all_are_those_that_are_there_when_it_is_their_turn() {
        let (store, mut writer) = reflector::store::<Agent>();
        let (queue, names) = queue(store);
        queue.push(ObjectRef::new("gone").within("adaptive"));
        queue.push_all();
        writer.apply_watcher_event(&Event::Apply(agent(json!({"runtime": "Codex"}))));
        drop(queue);
        let names: Vec<_> = names
            .map(|name| name.name)
            .collect()
            .await;
        assert_eq!(names, ["gone", "bot"]);
    }
}
