use k8s_openapi::api::core::v1::Pod;

use super::{
    reconcile::{Leader, Owner},
    subject::Subject,
};
use crate::{api::Agent, workload::agent_pod};

impl Owner for Agent {
    fn subject(&self, leader: &Leader) -> Subject<'_> {
        Subject::of_agent(self, &leader.policy)
    }

    fn pod(&self) -> Pod {
        agent_pod(self)
    }

    fn tools(&self) -> impl Iterator<Item = &str> {
        self.spec
            .tools
            .iter()
            .map(|tool| tool.name.as_str())
    }

    fn is_armed(&self) -> bool {
        !self.spec.paused
    }
}
