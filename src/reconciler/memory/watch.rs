//! The leader's watches, and the objects that are reconciled when something changes.

use std::{fmt::Debug, future::Future, sync::Arc};

use futures::{FutureExt, StreamExt, stream::BoxStream};
use kube::{
    Api, Client, Resource,
    runtime::{
        reflector::{
            ObjectRef, Store,
            store::{Writer, store},
        },
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;

use super::{
    observed::ObservedPod,
    packed::Packed,
    queue::{Queue, name_of, queue},
    users::Users,
};
use crate::{
    api::{Agent, Tool},
    watch::{Unreadable, everything},
    workload::{MANAGED_BY, MANAGED_BY_LABEL},
};

/// The leader's view of the cluster.
#[derive(Clone, Debug)]
pub(in crate::reconciler) struct Stores {
    pub(in crate::reconciler) agents: Store<Packed<Agent>>,
    pub(in crate::reconciler) tools: Store<Packed<Tool>>,
    pub(in crate::reconciler) pods: Store<Packed<ObservedPod>>,
    pub(in crate::reconciler) users: Arc<Users>,
}

/// The stores, the watches that update them, and the queues of objects to reconcile.
pub(in crate::reconciler) struct LeaderWatches<W> {
    pub(in crate::reconciler) stores: Stores,
    pub(in crate::reconciler) agents: BoxStream<'static, ObjectRef<Packed<Agent>>>,
    pub(in crate::reconciler) tools: BoxStream<'static, ObjectRef<Packed<Tool>>>,
    /// Runs the watches until it is dropped.
    pub(in crate::reconciler) watches: W,
}

/// Watches Agents, Tools, and the pods that carry our label.
pub(in crate::reconciler) fn watch(
    client: &Client,
    mut unreadable: Unreadable,
) -> LeaderWatches<impl Future<Output = ()> + use<>> {
    let (agents, agents_writer) = store();
    let (tools, tools_writer) = store();
    let (pods, pods_writer) = store();
    let (agent_queue, agent_names) = queue(agents.clone());
    let (tool_queue, tool_names) = queue(tools.clone());
    let stores = Stores {
        agents,
        tools,
        pods,
        users: Arc::default(),
    };
    let requeuer = Requeuer {
        stores: stores.clone(),
        agents: agent_queue,
        tools: tool_queue,
    };
    let client = client.clone();
    let watches = async move {
        let all = everything();
        let ours = everything().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"));
        let agents = keep(
            Api::all(client.clone()),
            all.clone(),
            agents_writer,
            |event, former| {
                requeuer.agent_event(event, former);
            },
        );
        let tools = keep(Api::all(client.clone()), all, tools_writer, |event, _| {
            requeuer.tool_event(event);
        });
        let pods = keep(Api::all(client), ours, pods_writer, |event, _| {
            unreadable.see(event);
            requeuer.pod_event(event);
        });
        futures::join!(agents, tools, pods);
    };
    LeaderWatches {
        stores,
        agents: agent_names.boxed(),
        tools: tool_names.boxed(),
        watches,
    }
}

impl Stores {
    /// Waits until the first lists have arrived. Before that, a pod may only seem to be missing.
    pub(in crate::reconciler) async fn ready(&self) {
        // An error means that the watch was dropped, and with it every waiting task.
        let _ = self.agents.wait_until_ready().await;
        let _ = self.tools.wait_until_ready().await;
        let _ = self.pods.wait_until_ready().await;
    }
}

/// Queues Agents and Tools that have to be reconciled again.
struct Requeuer {
    stores: Stores,
    agents: Queue<Packed<Agent>>,
    tools: Queue<Packed<Tool>>,
}

impl Requeuer {
    /// Arming an Agent brings up the Tools that it lists. If it is paused or deleted, or if it no
    /// longer lists them, they are unused and report it.
    fn agent_event(&self, event: &Event<Packed<Agent>>, former: Option<&Packed<Agent>>) {
        match event {
            Event::Apply(agent) => self.agent_changed(former, Some(agent)),
            Event::Delete(agent) => self.agent_changed(former.or(Some(agent)), None),
            Event::Init | Event::InitApply(_) => {}
            Event::InitDone => {
                // Not earlier: until then the store holds the previous state.
                let agents = self.stores.agents.state();
                let agents = agents.iter().map(|agent| &**agent);
                self.stores.users.replace_all(agents);
                self.push_all();
            }
        }
    }

    fn agent_changed(&self, former: Option<&Packed<Agent>>, now: Option<&Packed<Agent>>) {
        self.stores.users.replace(former, now);
        if let Some(agent) = now.or(former) {
            self.agents.push(name_of(agent));
        }
        for agent in [former, now].into_iter().flatten() {
            let namespace = agent
                .meta()
                .namespace
                .as_deref()
                .unwrap_or_default();
            for tool in &agent.summary.tools {
                let tool = ObjectRef::new(tool).within(namespace);
                // A Tool that does not exist yet has its own event once it is created.
                if self.stores.tools.get(&tool).is_some() {
                    self.tools.push(tool);
                }
            }
        }
    }

    fn tool_event(&self, event: &Event<Packed<Tool>>) {
        match event {
            Event::Apply(tool) | Event::Delete(tool) => self.tools.push(name_of(tool)),
            Event::Init | Event::InitApply(_) => {}
            Event::InitDone => self.push_all(),
        }
    }

    fn pod_event(&self, event: &Event<Packed<ObservedPod>>) {
        match event {
            Event::Apply(pod) | Event::Delete(pod) => {
                let namespace = pod
                    .meta()
                    .namespace
                    .as_deref()
                    .unwrap_or_default();
                let owners = pod
                    .meta()
                    .owner_references
                    .iter()
                    .flatten();
                for owner in owners {
                    if owner.kind == Agent::kind(&()) {
                        self.agents
                            .push(ObjectRef::new(&owner.name).within(namespace));
                    } else if owner.kind == Tool::kind(&()) {
                        self.tools
                            .push(ObjectRef::new(&owner.name).within(namespace));
                    }
                }
            }
            Event::Init | Event::InitApply(_) => {}
            Event::InitDone => self.push_all(),
        }
    }

    /// Queues everything after a new list, since objects that were deleted while the watch was
    /// broken have no event. Nothing happens before the first list of every kind; the last one
    /// queues everything.
    fn push_all(&self) {
        if self
            .stores
            .ready()
            .now_or_never()
            .is_none()
        {
            return;
        }
        self.agents.push_all();
        self.tools.push_all();
    }
}

/// Keeps a store up to date; runs until it is dropped. `on_event` is called after the store was
/// updated, with the event and the previous state of the object.
async fn keep<K>(
    api: Api<K>,
    config: watcher::Config,
    mut writer: Writer<K>,
    mut on_event: impl FnMut(&Event<K>, Option<&K>),
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    crate::watch::follow(api, config, forget_version, |event| {
        apply(&mut writer, &event, &mut on_event);
    })
    .await;
}

fn apply<K>(
    writer: &mut Writer<K>,
    event: &Event<K>,
    mut on_event: impl FnMut(&Event<K>, Option<&K>),
) where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let former = match event {
        Event::Apply(object) | Event::Delete(object) => writer.as_reader().get(&name_of(object)),
        Event::Init | Event::InitApply(_) | Event::InitDone => None,
    };
    writer.apply_watcher_event(event);
    on_event(event, former.as_deref());
}

/// Drops the version, which only the watch itself reads.
fn forget_version<K: Resource>(object: &mut K) {
    object.meta_mut().resource_version = None;
}

#[cfg(test)]
mod tests;
