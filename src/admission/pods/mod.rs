//! Pods: placeholders become images, the agent's container gets its token, and the decision is
//! recorded.
//!
//! `[ Pod ] -> [ its Agent, its Tool ] -> [ a row of the matrix ] -> [ patch ]`

mod judge;
mod mutate;
mod owner;
mod resolve;
mod rewrite;
mod view;

pub(super) use judge::{is_settled, judge};
pub(super) use mutate::{Mutation, mutate};
pub(super) use owner::{OwnerKind, PodOwner};
pub(super) use resolve::{ImageSlot, asks_for, places};
pub(super) use rewrite::rewrite_defaults;
pub(super) use view::{PodScope, PodView};
