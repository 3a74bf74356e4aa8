//! What an Agent or a Tool names of others, and so lends to its pod.
//!
//! An Agent is written by one user and run by the manager: whatever it names, its pod gets. So who
//! writes it needs a right of their own to each of those.

mod find;
mod judge;
mod policy;
mod table;

use std::fmt;

pub use self::policy::{AGENT_POLICY, TOOL_POLICY, reference_policies};
pub(super) use self::{
    find::references,
    table::{Keep, ReferenceSubject, is_kept, keep},
};

/// Something of the object's own namespace that its pod would get.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reference<'r> {
    /// What kind of object it is.
    pub kind: ReferenceKind,
    /// Its name, a legal one; empty with [`Reference::most`].
    pub name: &'r str,
    /// The field that names it: `spec.agentToken.secretRef`.
    pub field: String,
    /// Set for all that a list names beyond this number, which nobody is asked about one by one: only
    /// who may name everything may name them.
    pub most: Option<usize>,
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

/// A right in the namespace of an object, as an authorizer knows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AuthorRight {
    /// What may be done.
    pub verb: &'static str,
    /// To which resource of the core group.
    pub resource: &'static str,
    /// To which part of it, if not to all of it.
    pub subresource: Option<&'static str>,
}

impl AuthorRight {
    /// Who creates pods can have any Secret, ConfigMap and ServiceAccount of the namespace in one:
    /// Kubernetes asks for no further right.
    pub(crate) const TO_EVERYTHING: Self = Self::new("create", "pods", None);

    const fn new(
        verb: &'static str,
        resource: &'static str,
        subresource: Option<&'static str>,
    ) -> Self {
        Self {
            verb,
            resource,
            subresource,
        }
    }
}

impl ReferenceKind {
    /// The rights to an object of this kind, any of which will do.
    ///
    /// Who gets a token of a ServiceAccount, or impersonates it, has what a pod that runs as it has.
    #[must_use]
    pub fn rights(self) -> &'static [AuthorRight] {
        const CONFIG_MAP: [AuthorRight; 1] = [AuthorRight::new("get", "configmaps", None)];
        const SECRET: [AuthorRight; 1] = [AuthorRight::new("get", "secrets", None)];
        const SERVICE_ACCOUNT: [AuthorRight; 2] = [
            AuthorRight::new("create", "serviceaccounts", Some("token")),
            AuthorRight::new("impersonate", "serviceaccounts", None),
        ];
        match self {
            Self::ConfigMap => &CONFIG_MAP,
            Self::Secret => &SECRET,
            Self::ServiceAccount => &SERVICE_ACCOUNT,
        }
    }

    /// The word for what an author may not do.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::ConfigMap | Self::Secret => "get",
            Self::ServiceAccount => "act as",
        }
    }
}

/// What is known of the rights of who writes an object.
#[derive(Clone, Copy, Debug)]
pub enum AuthorRights<'a> {
    /// They may use these of the references that [`Review::references`](super::Review::references) names, and no others.
    Holds(&'a [Reference<'a>]),
    /// There is nobody to ask, so references are not judged.
    Unasked,
}

fn hint_to_use(kind: ReferenceKind) -> String {
    let verb = kind.verb();
    format!("name one that you may {verb}, or ask who runs this namespace for the right to it")
}

fn hint_to_shorten(most: usize) -> String {
    format!("name at most {most}")
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
