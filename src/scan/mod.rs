//! Compares live Agents, Tools and pods with the current configuration. Pure: objects in, findings
//! out; no client, no clock.
//!
//! ```text
//! [ Agent ] ─┐
//! [ Tool  ] ─┼─> Scan ─> [ ScanFinding ]
//! [ Pod   ] ─┘
//! ```
//!
//! Agents and Tools come first, then pods, in pages of any size. Only the few fields of Agents and
//! Tools are kept that pods are compared with, and nothing of pods. Objects are judged by the
//! webhooks' own code ([`crate::admission`]), as if they were created now. Records are compared as
//! for the condition `ImagesCurrent`.
//!
//! Objects that are being deleted are left out, since admission does not stop them either; so are
//! pods that have ended, and the namespaces that the webhooks exclude
//! ([`crate::api::EXCLUDED_NAMESPACES`]), unless one of them is asked for. Of mirror pods, which
//! admission ignores, only placeholders are reported.

mod finding;
mod judge;
mod object;
mod openreports;
mod owners;
mod pods;
mod references;

pub(crate) use finding::{Category, ScanFinding, Severity};
pub(crate) use object::ScannedKind;
pub(crate) use openreports::reports;
pub(crate) use owners::Owner;
pub(crate) use references::AskedSince;

use serde::Serialize;
use serde_json::Value;

use self::{object::ScannedObject, owners::KnownOwners};
use crate::{
    admission::{Author, Owners, Policy, Reference, Review},
    api::EXCLUDED_NAMESPACES,
};

/// A scan in progress.
#[derive(Debug)]
pub(crate) struct Scan<'p> {
    policy: &'p Policy,
    excluded: Excluded,
    asked_since: Option<AskedSince>,
    known: KnownOwners,
    looked: Looked,
    findings: Vec<ScanFinding>,
}

/// The treatment of objects in the namespaces that the webhooks exclude.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Excluded {
    /// They are judged like all others.
    Judge,
    /// They are left out.
    LeaveOut,
}

/// The numbers of objects.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Looked {
    /// Agents.
    pub agents: usize,
    /// Tools.
    pub tools: usize,
    /// Pods, including those unrelated to Agents and Tools.
    pub pods: usize,
    /// Objects of all three kinds that are left out.
    pub left_out: usize,
}

impl<'p> Scan<'p> {
    /// Starts a scan with a configuration.
    #[must_use]
    pub(crate) fn new(policy: &'p Policy, excluded: Excluded) -> Self {
        Self {
            policy,
            excluded,
            asked_since: None,
            known: KnownOwners::default(),
            looked: Looked::default(),
            findings: Vec::new(),
        }
    }

    /// Also reports references from before the API server itself checked them.
    #[must_use]
    pub(crate) fn asked_since(self, since: AskedSince) -> Self {
        Self {
            asked_since: Some(since),
            ..self
        }
    }

    /// An Agent or a Tool that names other objects, as a review; `None` if it is left out.
    #[must_use]
    pub(crate) fn named<'v>(&self, kind: ScannedKind, object: &'v Value) -> Option<Review<'v>> {
        let object = ScannedObject::new(kind, object);
        references::review(&object)
            .filter(|review| !self.leaves_out(&object) && !review.references().is_empty())
    }

    /// Reports the references of an object that a possible author may not use.
    pub(crate) fn hold_against(
        &mut self,
        kind: ScannedKind,
        object: &Value,
        review: &Review<'_>,
        author: &Author,
        permitted: &[Reference<'_>],
    ) {
        self.findings
            .extend(references::not_permitted(
                &ScannedObject::new(kind, object),
                review,
                author,
                permitted,
            ));
    }

    /// Judges an Agent.
    pub(crate) fn agent(&mut self, agent: &Value) {
        self.resource(&ScannedObject::new(ScannedKind::Agent, agent));
    }

    /// Judges a Tool.
    pub(crate) fn tool(&mut self, tool: &Value) {
        self.resource(&ScannedObject::new(ScannedKind::Tool, tool));
    }

    /// The Agents and Tools that a pod is compared with and that were created or changed since they
    /// were listed. The caller reads them and passes them to [`Scan::learn`] before the pod.
    #[must_use]
    pub(crate) fn missing(&self, pod: &Value) -> Vec<Owner> {
        let pod = ScannedObject::new(ScannedKind::Pod, pod);
        if self.leaves_out(&pod) {
            return Vec::new();
        }
        self.known.missing(&pod)
    }

    /// Adds the current state of an Agent or a Tool; `None` if it does not exist.
    pub(crate) fn learn(&mut self, owner: &Owner, object: Option<&Value>) {
        self.known.learn_live(owner, object);
    }

    /// Judges a pod.
    pub(crate) fn pod(&mut self, pod: &Value) {
        let pod = ScannedObject::new(ScannedKind::Pod, pod);
        if self.leaves_out(&pod) {
            self.looked.left_out += 1;
            return;
        }
        self.looked.pods += 1;
        self.findings
            .extend(pods::findings(&pod, &self.known, self.policy));
    }

    /// The findings, the most serious categories first, and the numbers of objects.
    #[must_use]
    pub(crate) fn finish(mut self) -> (Vec<ScanFinding>, Looked) {
        self.findings.sort();
        (self.findings, self.looked)
    }

    fn resource(&mut self, object: &ScannedObject<'_>) {
        self.known.learn(object);
        if self.leaves_out(object) {
            self.looked.left_out += 1;
            return;
        }
        if object.kind == ScannedKind::Agent {
            self.looked.agents += 1;
        } else {
            self.looked.tools += 1;
        }
        // If references are not checked in this cluster, none is missing.
        if let Some(since) = self
            .asked_since
            .filter(|_| self.policy.authorize_references)
        {
            self.findings
                .extend(references::unasked(object, since));
        }
        let judged = judge::judge(object, |_| Owners::default(), self.policy);
        self.findings.extend(
            judged
                .into_iter()
                .map(|(severity, cause)| {
                    let category = if cause.reason.is_policy() {
                        Category::Refused
                    } else {
                        Category::EnteredUnjudged
                    };
                    ScanFinding::of_cause(object, category, severity, cause)
                }),
        );
    }

    fn leaves_out(&self, object: &ScannedObject<'_>) -> bool {
        let is_excluded =
            self.excluded == Excluded::LeaveOut && EXCLUDED_NAMESPACES.contains(&object.namespace);
        is_excluded || object.is_being_deleted() || object.has_ended()
    }
}

#[cfg(test)]
mod tests;
