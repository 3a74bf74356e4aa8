use serde_json::Value;

use super::packed::PackedObject;
use crate::admission::Policy;

/// Reviews documents as if they were created one after the other, Agents and Tools first.
///
/// ```text
/// [ Document ] -> see -> [ PartialVerdict ] -> and all others -> verdicts
/// ```
///
/// The Agent and the Tool of a pod are those among the admitted documents.
#[derive(Clone, Copy, Debug)]
pub struct Reviewer<'p> {
    pub(super) policy: &'p Policy,
    keeps_pods: bool,
}

impl<'p> Reviewer<'p> {
    /// Creates a reviewer for a cluster with these settings. Verdicts hold the pods that would run
    /// only if `keeps_pods` is true, because pods are larger than everything else.
    #[must_use]
    pub fn new(policy: &'p Policy, keeps_pods: bool) -> Self {
        Self { policy, keeps_pods }
    }

    /// Packs a pod that would run, if pods are kept.
    pub(super) fn keep(&self, pod: Option<Value>) -> Option<PackedObject> {
        pod.filter(|_| self.keeps_pods)
            .map(|pod| PackedObject::new(&pod))
    }
}
