use k8s_openapi::api::core::v1::Pod;
use kube::{Resource, runtime::reflector::Store};

use super::{
    packed::Packed,
    pod::tool_pod,
    reconcile::{Leader, Owner},
    subject::Subject,
};
use crate::api::{Agent, Tool};

impl Owner for Tool {
    fn subject(&self, leader: &Leader) -> Subject<'_> {
        let is_used = is_used(self, &leader.stores.agents);
        Subject::of_tool(self, is_used, &leader.policy)
    }

    fn pod(&self) -> Pod {
        tool_pod(self)
    }

    fn tools(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }

    fn is_armed(&self) -> bool {
        false
    }
}

/// Whether an armed Agent of the Tool's namespace lists it.
fn is_used(tool: &Tool, agents: &Store<Packed<Agent>>) -> bool {
    agents
        .find(|agent| {
            agent.brief.is_armed
                && agent
                    .meta()
                    .deletion_timestamp
                    .is_none()
                && agent.meta().namespace == tool.metadata.namespace
                && agent
                    .brief
                    .tools
                    .iter()
                    .any(|listed| Some(&**listed) == tool.metadata.name.as_deref())
        })
        .is_some()
}

#[cfg(test)]
mod tests {
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;

    use super::*;
    use crate::reconciler::fixtures::{agent, tool};

    #[test]
    fn only_an_armed_agent_of_the_same_namespace_counts() {
        let tool = tool(json!({"type": "custom", "image": "registry.example.com/t:v1"}));
        let listing = |paused: bool, name: &str| {
            agent(json!({"runtime": "Codex", "paused": paused, "tools": [{"name": name}]}))
        };
        let mut elsewhere = listing(false, "browser");
        elsewhere.metadata.namespace = Some("other".into());
        for (agent, expected) in [
            (listing(false, "browser"), true),
            (listing(true, "browser"), false),
            (listing(false, "another"), false),
            (elsewhere, false),
        ] {
            let (agents, mut writer) = reflector::store();
            writer.apply_watcher_event(&Event::Apply(agent.into()));
            assert_eq!(is_used(&tool, &agents), expected);
        }
    }
}
