//! The JSON of a review and of its answer.
//!
//! `[ body ] -> RequestObject -> the views that rules read`, and `[ Decision ] -> [ answer ]`

pub(in crate::admission) mod answer;
pub(in crate::admission) mod bounded;
pub(in crate::admission) mod request;
pub(in crate::admission) mod text;
