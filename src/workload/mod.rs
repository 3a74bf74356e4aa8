//! The pod of an Agent or a Tool, and the image that each of its containers should run.
//!
//! ```text
//! [ Agent, Tool ] -> [ Pod with placeholders ]
//!                 -> [ plan ] -> compared with what admission recorded -> [ changes in words ]
//! ```
//!
//! The reconciler creates the pod and reports the plan, the offline review shows both, and a scan compares
//! live pods with the plan. Pure: no client, no async, no clock, no environment.

mod plan;
mod pod;

#[cfg(test)]
pub(crate) mod fixtures;

pub use pod::{agent_pod, tool_pod};

pub(crate) use plan::{PlanRefusal, agent_images, change, changes, rule, tool_images};
pub(crate) use pod::{
    AGENT_CONTAINER, AGENTLET_CONTAINER, MANAGED_BY, MANAGED_BY_LABEL, TOOL_CONTAINER,
    agent_pod_name, tool_pod_name,
};
