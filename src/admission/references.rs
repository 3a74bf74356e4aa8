//! What an Agent or a Tool names of others, and so lends to its pod.
//!
//! An Agent is written by one user and run by the manager: whatever it names, its pod gets. So who
//! writes it needs a right of their own to each of those.

use std::fmt;

use serde_json::Value;

use super::{
    Reason, Review, agents, credential,
    denial::Cause,
    fields::{Findings, text},
    names,
    review::Target,
    tools,
};

/// The most pull secrets that a schema lets an Agent name. Admission is asked before the schema is,
/// and who names more is refused by it right after.
const MOST_PULL_SECRETS: usize = 64;

/// Something of the object's own namespace that its pod would get.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reference<'r> {
    /// What kind of object it is.
    pub kind: ReferenceKind,
    /// Its name, a legal one.
    pub name: &'r str,
    /// The field that names it: `spec.agentToken.secretRef`.
    pub field: String,
}

/// The kinds that an Agent or a Tool can name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReferenceKind {
    /// A key of it becomes a variable.
    ConfigMap,
    /// A key of it becomes a variable, or images are pulled with it.
    Secret,
    /// The pod runs as it.
    ServiceAccount,
}

/// What is known of the rights of who writes an object.
#[derive(Clone, Copy, Debug)]
pub enum Authority<'a> {
    /// They may use these of the references that [`Review::references`] names, and no others.
    Holds(&'a [Reference<'a>]),
    /// There is nobody to ask, so references are not judged.
    Unasked,
}

impl Review<'_> {
    /// What the object names that its author needs a right to: none where the object is neither an
    /// Agent nor a Tool, or was like that already.
    ///
    /// On UPDATE every reference counts once anything has changed that steers what runs with it: who
    /// gives somebody's Agent another image, goal or node decides what becomes of its token.
    #[must_use]
    pub fn references(&self) -> Vec<Reference<'_>> {
        let mut references = match &self.target {
            Target::Agent(agent) => agents::references(agent),
            Target::Nothing | Target::Pod(..) | Target::SettledPod => Vec::new(),
            Target::Tool(tool) => tools::references(tool),
        };
        // No object can be called by any other name, so there is nothing to lend.
        references.retain(|reference| names::is_subdomain(reference.name));
        references
    }

    /// Refuses the references that are not permitted.
    pub(super) fn judge_references(&self, authority: Authority<'_>, findings: &mut Findings) {
        let Authority::Holds(permitted) = authority else {
            return;
        };
        for reference in self.references() {
            if !permitted.contains(&reference) {
                findings.refuse(self.not_permitted(&reference));
            }
        }
    }

    fn not_permitted(&self, reference: &Reference<'_>) -> Cause {
        let Reference { kind, name, field } = reference;
        let verb = match kind {
            ReferenceKind::ConfigMap | ReferenceKind::Secret => "get",
            ReferenceKind::ServiceAccount => "act as",
        };
        let detail = format!(
            "user {} may neither {verb} {kind} {} nor create pods in namespace {}",
            credential::quote(self.user()),
            credential::quote(name),
            credential::quote(self.namespace()),
        );
        Cause::forbidden(Reason::ReferenceNotPermitted, field.as_str(), &detail).hint(&format!(
            "name one that you may {verb}, or ask who runs this namespace for the right to it"
        ))
    }
}

/// A reference `{name, …}` in a field, if there is one.
pub(super) fn named<'r>(
    kind: ReferenceKind,
    field: &str,
    reference: Option<&'r Value>,
) -> Option<Reference<'r>> {
    Some(Reference {
        kind,
        name: text(reference?.get("name")?)?,
        field: field.to_owned(),
    })
}

/// The pull secrets of an Agent.
pub(super) fn pull_secrets(list: &Value) -> impl Iterator<Item = Reference<'_>> {
    list.as_array()
        .into_iter()
        .flatten()
        .take(MOST_PULL_SECRETS)
        .enumerate()
        .filter_map(|(index, secret)| {
            let field = format!("spec.imagePullSecrets[{index}]");
            named(ReferenceKind::Secret, &field, Some(secret))
        })
}

impl fmt::Display for ReferenceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::ServiceAccount => "ServiceAccount",
        })
    }
}
