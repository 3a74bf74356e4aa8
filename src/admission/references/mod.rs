//! The objects that an Agent or a Tool names and so gives to its pod.
//!
//! An Agent is written by one user and run by the manager, and its pod gets everything it names.
//! Its author therefore needs the right to use each of these objects.

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

/// An object of the same namespace that the pod would get.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reference<'r> {
    /// The kind of the object.
    pub kind: ReferenceKind,
    /// The name of the object, a legal one. Empty if [`Reference::most`] is set.
    pub name: &'r str,
    /// The field that names it: `spec.agentToken.secretRef`.
    pub field: String,
    /// Set for the entries of a list beyond this number. They are not checked one by one: only an
    /// author who may use everything may name them.
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
    /// The verb.
    pub verb: &'static str,
    /// The resource, of the core group.
    pub resource: &'static str,
    /// The subresource, if the right is to a part of the resource only.
    pub subresource: Option<&'static str>,
}

impl AuthorRight {
    /// A user who can create pods can mount any Secret and ConfigMap of the namespace, and run a
    /// pod as any ServiceAccount in it. Kubernetes asks for no further right.
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
    /// The rights to an object of this kind; any one of them is enough.
    ///
    /// A user who may create a token of a ServiceAccount, or impersonate it, can do all that its
    /// pods can do.
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

    /// The word for the missing right in a denial.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::ConfigMap | Self::Secret => "get",
            Self::ServiceAccount => "act as",
        }
    }
}

/// The known rights of an object's author.
#[derive(Clone, Copy, Debug)]
pub enum AuthorRights<'a> {
    /// The author may use these of the references that
    /// [`Review::references`](super::Review::references) names, and no others.
    Holds(&'a [Reference<'a>]),
    /// References are not checked.
    Unasked,
}

fn hint_to_use(kind: ReferenceKind) -> String {
    let verb = kind.verb();
    format!(
        "name one that you may {verb}, or ask an administrator of this namespace for access to it"
    )
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
