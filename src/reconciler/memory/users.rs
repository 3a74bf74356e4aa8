//! The Agents that list each Tool, so that a changed Tool does not require a search through all
//! Agents.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{Mutex, PoisonError},
};

use kube::{
    Resource,
    runtime::reflector::{ObjectRef, Store},
};

use super::packed::Packed;
use crate::api::Agent;

/// The Agents that list a Tool, by namespace and Tool. The store of Agents knows which of them are
/// armed.
#[derive(Debug, Default)]
pub(in crate::reconciler) struct Users(Mutex<ByTool>);

type ByTool = HashMap<(Box<str>, Box<str>), HashSet<Box<str>>>;

impl Users {
    /// Updates the Tools of an Agent that is added, changed or deleted, from its previous and its
    /// current state in the store.
    pub(in crate::reconciler) fn replace(
        &self,
        former: Option<&Packed<Agent>>,
        now: Option<&Packed<Agent>>,
    ) {
        self.with(|users| {
            if let Some(now) = now {
                add(users, now);
            }
            let Some((former, (namespace, name))) =
                former.and_then(|former| Some((former, name_of(former)?)))
            else {
                return;
            };
            for tool in &former.summary.tools {
                if !now.is_some_and(|now| now.summary.tools.contains(tool)) {
                    remove(users, (namespace.into(), tool.clone()), name);
                }
            }
            give_back(users);
        });
    }

    /// Replaces all Agents after a list.
    pub(in crate::reconciler) fn replace_all<'a>(
        &self,
        agents: impl Iterator<Item = &'a Packed<Agent>>,
    ) {
        let mut all = ByTool::new();
        for agent in agents {
            add(&mut all, agent);
        }
        self.with(|users| *users = all);
    }

    /// True if an armed Agent of the Tool's namespace lists it.
    pub(in crate::reconciler) fn has<K>(&self, tool: &K, agents: &Store<Packed<Agent>>) -> bool
    where
        K: Resource,
    {
        let metadata = tool.meta();
        let (Some(namespace), Some(tool)) = (&metadata.namespace, &metadata.name) else {
            return false;
        };
        let key = (namespace.as_str().into(), tool.as_str().into());
        self.with(|users| {
            users
                .get(&key)
                .is_some_and(|listed_by| {
                    listed_by.iter().any(|name| {
                        // The store may be ahead of this map.
                        let agent = agents.get(&ObjectRef::new(name).within(namespace));
                        agent.is_some_and(|agent| {
                            agent.summary.tools.contains(&key.1)
                                && agent.summary.is_armed
                                && agent
                                    .meta()
                                    .deletion_timestamp
                                    .is_none()
                        })
                    })
                })
        })
    }

    fn with<R>(&self, look: impl FnOnce(&mut ByTool) -> R) -> R {
        // A panic while the lock was held cannot have left the state inconsistent.
        look(
            &mut self
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

fn name_of(agent: &Packed<Agent>) -> Option<(&str, &str)> {
    let metadata = agent.meta();
    Some((metadata.namespace.as_deref()?, metadata.name.as_deref()?))
}

fn add(users: &mut ByTool, agent: &Packed<Agent>) {
    let Some((namespace, name)) = name_of(agent) else {
        return;
    };
    for tool in &agent.summary.tools {
        users
            .entry((namespace.into(), tool.clone()))
            .or_default()
            .insert(name.into());
    }
}

fn remove(users: &mut ByTool, tool: (Box<str>, Box<str>), agent: &str) {
    if let Entry::Occupied(mut listed_by) = users.entry(tool) {
        listed_by.get_mut().remove(agent);
        if listed_by.get().is_empty() {
            listed_by.remove();
        }
    }
}

/// Frees memory, since a map keeps the capacity of removed entries.
fn give_back(users: &mut ByTool) {
    if users.len() < users.capacity() / 4 {
        users.shrink_to(2 * users.len());
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::{
        reflector::{self, store::Writer},
        watcher::Event,
    };
    use serde_json::json;

    use super::*;
    use crate::{
        api::Tool,
        reconciler::fixtures::{agent, tool},
    };

    fn browser() -> Tool {
        tool(json!({"type": "custom", "image": "registry.example.com/t:v1"}))
    }

    fn listing(paused: bool, name: &str) -> Agent {
        agent(json!({"runtime": "Codex", "paused": paused, "tools": [{"name": name}]}))
    }

    fn put(users: &Users, writer: &mut Writer<Packed<Agent>>, agent: Agent) {
        let agent = Packed::from(agent);
        let former = writer
            .as_reader()
            .get(&ObjectRef::from_obj(&agent));
        writer.apply_watcher_event(&Event::Apply(agent.clone()));
        users.replace(former.as_deref(), Some(&agent));
    }

    #[test]
    fn only_an_armed_agent_of_the_same_namespace_counts() {
        let mut elsewhere = listing(false, "browser");
        elsewhere.metadata.namespace = Some("other".into());
        for (agent, expected) in [
            (listing(false, "browser"), true),
            (listing(true, "browser"), false),
            (listing(false, "another"), false),
            (elsewhere, false),
        ] {
            let (users, (agents, mut writer)) = (Users::default(), reflector::store());
            put(&users, &mut writer, agent);
            assert_eq!(users.has(&browser(), &agents), expected);
        }
    }

    #[test]
    fn what_an_agent_no_longer_does_is_forgotten() {
        let (users, (agents, mut writer)) = (Users::default(), reflector::store());
        put(&users, &mut writer, listing(false, "browser"));
        assert!(users.has(&browser(), &agents));
        put(&users, &mut writer, listing(true, "browser"));
        assert!(!users.has(&browser(), &agents));
        put(&users, &mut writer, listing(false, "browser"));
        assert!(users.has(&browser(), &agents));
        put(&users, &mut writer, listing(false, "another"));
        assert!(!users.has(&browser(), &agents));
        assert!(users.with(|users| users.len()) == 1, "only `another`");
        let gone = Packed::from(listing(false, "another"));
        writer.apply_watcher_event(&Event::Delete(gone.clone()));
        users.replace(Some(&gone), None);
        assert!(users.with(|users| users.is_empty()));
    }

    #[test]
    fn after_a_list_there_is_nothing_else() {
        let (users, (agents, mut writer)) = (Users::default(), reflector::store());
        put(&users, &mut writer, listing(false, "another"));
        let listed = Packed::from(listing(false, "browser"));
        writer.apply_watcher_event(&Event::Apply(listed.clone()));
        users.replace_all([&listed].into_iter());
        assert!(users.has(&browser(), &agents));
        assert!(users.with(|users| users.len()) == 1);
    }

    #[test]
    fn tools_that_an_agent_listed_once_take_no_memory() {
        let (users, (_, mut writer)) = (Users::default(), reflector::store());
        let mut most = 0;
        for round in 0..50 {
            let tools: Vec<_> = (0..256)
                .map(|index| json!({"name": format!("tool-{round}-{index}")}))
                .collect();
            let agent = agent(json!({"runtime": "Codex", "tools": tools}));
            put(&users, &mut writer, agent);
            most = most.max(users.with(|users| users.len()));
        }
        assert_eq!(most, 256);
        put(&users, &mut writer, agent(json!({"runtime": "Codex"})));
        assert!(users.with(|users| users.is_empty() && users.capacity() < 16));
    }
}
