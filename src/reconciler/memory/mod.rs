//! What the leader keeps of Agents, Tools and pods, how it is kept up to date, and which of them are to
//! be looked at next.
//!
//! `[ watch ] -> [ Packed + Summary ] -> [ queue ] -> reconcile`

pub(in crate::reconciler) mod observed;
pub(in crate::reconciler) mod packed;
pub(in crate::reconciler) mod queue;
pub(in crate::reconciler) mod summary;
pub(in crate::reconciler) mod users;
pub(in crate::reconciler) mod watch;
pub(in crate::reconciler) mod written_status;
