use serde_json::Value;

use super::packed::PackedObject;
use crate::admission::Policy;

/// Reviews documents as if they were created one after the other, Agents and Tools first.
///
/// ```text
/// [ Document ] -> see -> [ PartialVerdict ] -> and all others -> verdicts
/// ```
///
/// A pod's Agent and Tool are those of the documents that are admitted.
#[derive(Clone, Copy, Debug)]
pub struct Reviewer<'p> {
    pub(super) policy: &'p Policy,
    keeps_pods: bool,
}

impl<'p> Reviewer<'p> {
    /// A reviewer for a cluster with these settings. Verdicts hold the pods that would run only
    /// where `keeps_pods` asks for them, because they are larger than all the rest.
    #[must_use]
    pub fn new(policy: &'p Policy, keeps_pods: bool) -> Self {
        Self { policy, keeps_pods }
    }

    /// A pod that would run, as a verdict holds it.
    pub(super) fn keep(&self, pod: Option<Value>) -> Option<PackedObject> {
        pod.filter(|_| self.keeps_pods)
            .map(|pod| PackedObject::new(&pod))
    }
}
