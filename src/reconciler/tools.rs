use k8s_openapi::api::core::v1::Pod;

use super::{owner::Owner, reconciled::Reconciled};
use crate::{admission::Policy, api::Tool, workload::tool_pod};

impl Owner for Tool {
    fn subject(&self, policy: &Policy, is_listed: impl FnOnce() -> bool) -> Reconciled<'_> {
        Reconciled::of_tool(self, is_listed(), policy)
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
