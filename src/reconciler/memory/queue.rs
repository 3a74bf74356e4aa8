//! The objects of a kind that are to be looked at.
//!
//! However many there are, they are named one by one as the applier takes them: after a list all are
//! to be looked at, and tens of thousands of names would take as much memory as what is kept of the
//! objects themselves. Between two of them everything else has its turn.

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

/// Where objects are put that are to be looked at.
pub(in crate::reconciler) struct Queue<K: Resource<DynamicType = ()>>(UnboundedSender<Requeue<K>>);

enum Requeue<K: Resource<DynamicType = ()>> {
    All,
    One(ObjectRef<K>),
}

/// A queue, and the names that come out of it.
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

    /// Every object that is in the store by the time that it is its turn.
    pub(in crate::reconciler) fn push_all(&self) {
        self.send(Requeue::All);
    }

    fn send(&self, entry: Requeue<K>) {
        // The receiver goes only together with the watches.
        let _ = self.0.unbounded_send(entry);
    }
}

/// Namespace and name, and nothing else.
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
