//! Live Agents, Tools and pods against today's configuration. Pure: objects in, findings out; no
//! client, no clock.
//!
//! ```text
//! [ Agent ] ─┐
//! [ Tool  ] ─┼─> Scan ─> [ ScanFinding ]
//! [ Pod   ] ─┘
//! ```
//!
//! Agents and Tools come first, then pods, in pages of any size: of Agents and Tools only the few
//! fields are kept that pods are held against, of pods nothing. What an object is judged by is the
//! webhooks' own code ([`crate::admission`]), as if it were created now, and the comparison with what
//! was recorded is that of the condition `ImagesCurrent`.
//!
//! Left out are objects that are being deleted, which admission does not hold up either; pods that
//! have ended, in which nothing runs any more; and the namespaces that the webhooks are not called for
//! ([`crate::api::EXCLUDED_NAMESPACES`]), unless somebody asks for one of them. Of mirror pods, which
//! admission leaves alone, only placeholders are found.

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

/// A scan that is under way.
#[derive(Debug)]
pub(crate) struct Scan<'p> {
    policy: &'p Policy,
    excluded: Excluded,
    asked_since: Option<AskedSince>,
    known: KnownOwners,
    looked: Looked,
    findings: Vec<ScanFinding>,
}

/// What becomes of objects in the namespaces that the webhooks are not called for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Excluded {
    /// They are looked at like all others.
    Judge,
    /// They are left out.
    LeaveOut,
}

/// How many objects were looked at.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Looked {
    /// Agents.
    pub agents: usize,
    /// Tools.
    pub tools: usize,
    /// Pods, also those that have nothing to do with Agents and Tools.
    pub pods: usize,
    /// Objects of all three kinds that are not looked at.
    pub left_out: usize,
}

impl<'p> Scan<'p> {
    /// Starts a scan by a configuration.
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

    /// Also looks for what was named before the API server asked about references by itself.
    #[must_use]
    pub(crate) fn asked_since(self, since: AskedSince) -> Self {
        Self {
            asked_since: Some(since),
            ..self
        }
    }

    /// An Agent or a Tool that names something, as a review; `None` where it is left out.
    #[must_use]
    pub(crate) fn named<'v>(&self, kind: ScannedKind, object: &'v Value) -> Option<Review<'v>> {
        let object = ScannedObject::new(kind, object);
        references::review(&object)
            .filter(|review| !self.leaves_out(&object) && !review.references().is_empty())
    }

    /// Takes what of an object's references an author may use, who may have written it.
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

    /// Looks at an Agent.
    pub(crate) fn agent(&mut self, agent: &Value) {
        self.resource(&ScannedObject::new(ScannedKind::Agent, agent));
    }

    /// Looks at a Tool.
    pub(crate) fn tool(&mut self, tool: &Value) {
        self.resource(&ScannedObject::new(ScannedKind::Tool, tool));
    }

    /// The Agents and Tools that a pod is held against, and that were created or changed since they were
    /// listed. Whoever scans reads them, and tells them by [`Scan::learn`] before the pod is looked at.
    #[must_use]
    pub(crate) fn missing(&self, pod: &Value) -> Vec<Owner> {
        let pod = ScannedObject::new(ScannedKind::Pod, pod);
        if self.leaves_out(&pod) {
            return Vec::new();
        }
        self.known.missing(&pod)
    }

    /// Takes what was read of an Agent or a Tool just now; `None` where there is none.
    pub(crate) fn learn(&mut self, owner: &Owner, object: Option<&Value>) {
        self.known.learn_live(owner, object);
    }

    /// Looks at a pod.
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

    /// What was found, the gravest categories first, and how much was looked at.
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
        // Where nobody is to be asked, nothing is missing.
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
