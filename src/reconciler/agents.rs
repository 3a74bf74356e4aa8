use k8s_openapi::api::core::v1::Pod;

use super::{owner::Owner, reconciled::Reconciled};
use crate::{admission::Policy, api::Agent, workload::agent_pod};

impl Owner for Agent {
    fn subject(&self, policy: &Policy, _is_listed: impl FnOnce() -> bool) -> Reconciled<'_> {
        Reconciled::of_agent(self, policy)
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
