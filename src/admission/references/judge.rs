//! The references of a review, and the refusal of those that its author may not use.

use super::{AuthorRights, Reference, hint_to_shorten, hint_to_use};
use crate::admission::{
    Reason, Review, credential,
    denial::Cause,
    specs::{agents, fields::Findings, tools},
    target::Target,
};

impl Review<'_> {
    /// The objects that the Agent or Tool names and that its author needs a right to use. Empty for
    /// other kinds, and if an update changes nothing that affects what runs.
    ///
    /// On UPDATE every reference counts once such a field changes: anyone who gives another
    /// author's Agent a new image, goal or node decides what becomes of its token.
    #[must_use]
    pub fn references(&self) -> Vec<Reference<'_>> {
        match &self.target {
            Target::Agent(agent) => agents::references(agent),
            Target::Nothing | Target::Pod(..) | Target::SettledPod => Vec::new(),
            Target::Tool(tool) => tools::references(tool),
        }
    }

    /// Refuses the references that are not permitted.
    pub(in crate::admission) fn judge_references(
        &self,
        authority: AuthorRights<'_>,
        findings: &mut Findings,
    ) {
        let AuthorRights::Holds(permitted) = authority else {
            return;
        };
        for reference in self.references() {
            if !permitted.contains(&reference) {
                findings.refuse(self.not_permitted(&reference));
            }
        }
    }

    fn not_permitted(&self, reference: &Reference<'_>) -> Cause {
        let Reference {
            kind,
            name,
            field,
            most,
        } = reference;
        let verb = kind.verb();
        let user = credential::quote(self.user());
        let namespace = credential::quote(self.namespace());
        let (detail, hint) = match most {
            Some(most) => (
                format!(
                    "user {user} may not create pods in namespace {namespace}, and may not name more than {most}"
                ),
                hint_to_shorten(*most),
            ),
            None => (
                format!(
                    "user {user} may neither {verb} {kind} {} nor create pods in namespace {namespace}",
                    credential::quote(name),
                ),
                hint_to_use(*kind),
            ),
        };
        Cause::forbidden(Reason::ReferenceNotPermitted, field.as_str(), &detail).hint(&hint)
    }
}
