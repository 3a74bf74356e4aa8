use std::fmt::Debug;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Resource,
    core::{NamespaceResourceScope, object::HasStatus},
};
use serde::{Serialize, de::DeserializeOwned};

use super::reconciled::Reconciled;
use crate::{admission::Policy, api::Status};

/// A kind of object that has a pod.
pub(super) trait Owner:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + HasStatus<Status = Status>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// The facts for status and Events.
    ///
    /// `is_listed` returns whether an armed Agent lists the object, which only matters for a Tool.
    fn subject(&self, policy: &Policy, is_listed: impl FnOnce() -> bool) -> Reconciled<'_>;
    /// The pod that the object should have.
    fn pod(&self) -> Pod;
    /// The names of the Tools that the object lists.
    fn tools(&self) -> impl Iterator<Item = &str>;
    /// True if the object brings up the Tools that it lists.
    fn is_armed(&self) -> bool;
}
