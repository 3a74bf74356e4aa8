//! The rules for Agents and Tools, and the table of the fields that these rules can read.

pub(in crate::admission) mod agents;
pub(in crate::admission) mod fields;
pub(in crate::admission) mod spec;
pub(in crate::admission) mod tools;
