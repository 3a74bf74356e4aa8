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
    /// The facts that status and Events tell of it.
    ///
    /// `is_listed` answers whether an armed Agent lists it, which only a Tool depends on.
    fn subject(&self, policy: &Policy, is_listed: impl FnOnce() -> bool) -> Reconciled<'_>;
    /// The pod that it should have.
    fn pod(&self) -> Pod;
    /// The names of the Tools that it lists.
    fn tools(&self) -> impl Iterator<Item = &str>;
    /// Whether it brings those up.
    fn is_armed(&self) -> bool;
}
