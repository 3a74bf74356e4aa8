//! The leader's memory of Agents, Tools and pods, with the watches that update it and the queue of
//! objects to reconcile.
//!
//! `[ watch ] -> [ Packed + Summary ] -> [ queue ] -> reconcile`

pub(in crate::reconciler) mod observed;
pub(in crate::reconciler) mod packed;
pub(in crate::reconciler) mod queue;
pub(in crate::reconciler) mod summary;
pub(in crate::reconciler) mod users;
pub(in crate::reconciler) mod watch;
pub(in crate::reconciler) mod written_status;
