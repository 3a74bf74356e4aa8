use k8s_openapi::api::core::v1::Pod;

use super::{
    reconcile::{Leader, Owner},
    subject::Subject,
};
use crate::{api::Tool, workload::tool_pod};

impl Owner for Tool {
    fn subject(&self, leader: &Leader) -> Subject<'_> {
        let stores = &leader.stores;
        let is_used = stores.users.has(self, &stores.agents);
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
