use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::Store;

use super::{
    kept::Kept,
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
}

/// Whether an armed Agent of the Tool's namespace lists it.
fn is_used(tool: &Tool, agents: &Store<Kept<Agent>>) -> bool {
    agents
        .find(|Kept { object: agent, .. }| {
            let is_armed = !agent.spec.paused
                && agent
                    .metadata
                    .deletion_timestamp
                    .is_none();
            is_armed
                && agent.metadata.namespace == tool.metadata.namespace
                && agent
                    .spec
                    .tools
                    .iter()
                    .any(|listed| Some(&listed.name) == tool.metadata.name.as_ref())
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
