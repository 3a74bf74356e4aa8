//! Which Agents list a Tool, so that not all of them are asked each time that one changes.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use kube::{
    Resource,
    runtime::reflector::{ObjectRef, Store},
};

use super::packed::Packed;
use crate::api::{Agent, Tool};

/// By namespace and Tool the Agents that have listed it. Which of them still do, and are armed, only
/// their store can say.
#[derive(Debug, Default)]
pub(super) struct Users(Mutex<ByTool>);

type ByTool = HashMap<(Box<str>, Box<str>), HashSet<Box<str>>>;

impl Users {
    /// To be called for each Agent that comes or changes, once its store has it.
    pub(super) fn note(&self, agent: &Packed<Agent>) {
        let metadata = agent.meta();
        let (Some(namespace), Some(name)) = (&metadata.namespace, &metadata.name) else {
            return;
        };
        for tool in &agent.brief.tools {
            self.with(|users| {
                users
                    .entry((namespace.as_str().into(), tool.clone()))
                    .or_default()
                    .insert(name.as_str().into())
            });
        }
    }

    /// Whether an armed Agent of the Tool's namespace lists it.
    pub(super) fn has(&self, tool: &Tool, agents: &Store<Packed<Agent>>) -> bool {
        let metadata = &tool.metadata;
        let (Some(namespace), Some(tool)) = (&metadata.namespace, &metadata.name) else {
            return false;
        };
        let key = (namespace.as_str().into(), tool.as_str().into());
        self.with(|users| {
            let Some(listed_by) = users.get_mut(&key) else {
                return false;
            };
            let mut former = Vec::new();
            let has = listed_by.iter().any(|name| {
                let agent = agents.get(&ObjectRef::new(name).within(namespace));
                let Some(agent) = agent.filter(|agent| agent.brief.tools.contains(&key.1)) else {
                    former.push(name.clone());
                    return false;
                };
                agent.brief.is_armed
                    && agent
                        .meta()
                        .deletion_timestamp
                        .is_none()
            });
            for name in &former {
                listed_by.remove(name);
            }
            if listed_by.is_empty() {
                users.remove(&key);
            }
            has
        })
    }

    fn with<R>(&self, look: impl FnOnce(&mut ByTool) -> R) -> R {
        // A panic while it was held cannot have left anything half done.
        look(
            &mut self
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
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
    use crate::reconciler::fixtures::{agent, tool};

    fn browser() -> Tool {
        tool(json!({"type": "custom", "image": "registry.example.com/t:v1"}))
    }

    fn listing(paused: bool, name: &str) -> Agent {
        agent(json!({"runtime": "Codex", "paused": paused, "tools": [{"name": name}]}))
    }

    fn put(users: &Users, writer: &mut Writer<Packed<Agent>>, agent: Agent) {
        let agent = Packed::from(agent);
        writer.apply_watcher_event(&Event::Apply(agent.clone()));
        users.note(&agent);
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
        writer.apply_watcher_event(&Event::Delete(gone));
        let mut another = browser();
        another.metadata.name = Some("another".into());
        assert!(!users.has(&another, &agents));
        assert!(users.with(|users| users.is_empty()));
    }
}
