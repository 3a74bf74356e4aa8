//! The table of the reasons for refusals.

use std::fmt;

/// Makes the enum and its methods from the table below. The doc comment of a reason is also its
/// text in the docs.
macro_rules! reasons {
    ($(
        $(#[doc = $help:literal])+
        $reason:ident { code: $code:literal, is_policy: $is_policy:literal }
    )+) => {
        /// The reason of a refusal: the closed set used in causes, logs and metrics.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Reason {
            $($(#[doc = $help])+ $reason,)+
        }

        impl Reason {
            /// Every reason, in alphabetical order.
            pub const ALL: &'static [Self] = &[$(Self::$reason),+];

            /// The word in `details.causes[].reason`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$reason => stringify!($reason),)+
                }
            }

            /// The HTTP status of a denial with no other reason: 422 if the value is wrong in every
            /// cluster, 403 if it could be allowed in another one.
            #[must_use]
            pub fn code(self) -> u16 {
                match self {
                    $(Self::$reason => $code,)+
                }
            }

            /// True for a policy set by an administrator, who may choose to only warn.
            #[must_use]
            pub fn is_policy(self) -> bool {
                match self {
                    $(Self::$reason => $is_policy,)+
                }
            }

            /// The sentence that explains the reason.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self {
                    $(Self::$reason => concat!($($help),+).trim_ascii(),)+
                }
            }
        }
    };
}

reasons! {
    /// Runtime Custom, or Tool type custom, without `spec.image`.
    ImageRequired { code: 422, is_policy: false }
    /// `spec.image` is not an image reference.
    InvalidImage { code: 422, is_policy: false }
    /// A Tool's probe would have the kubelet ask another host than the Tool's own pod.
    InvalidProbe { code: 422, is_policy: false }
    /// A reference to a Secret lacks its name or key, or has one that is not legal.
    InvalidSecretRef { code: 422, is_policy: false }
    /// The request is not a review that agentkube serves.
    MalformedReview { code: 422, is_policy: false }
    /// A pod's label names another owner than before, or than its controller.
    OwnerMismatch { code: 422, is_policy: false }
    /// The token variable is set to a literal.
    PlaintextToken { code: 422, is_policy: true }
    /// The object names a Secret, a ConfigMap or a ServiceAccount that its author may not use.
    ReferenceNotPermitted { code: 403, is_policy: false }
    /// An image that would run is outside the allowed registries.
    RegistryNotAllowed { code: 403, is_policy: true }
    /// The spec has more bytes than a spec may have.
    SpecTooLarge { code: 422, is_policy: false }
    /// The Agent that a pod is labelled with does not exist.
    UnknownAgent { code: 422, is_policy: false }
    /// `spec.runtime` is not in the matrix.
    UnknownRuntime { code: 422, is_policy: false }
    /// The Tool that a pod is labelled with does not exist.
    UnknownTool { code: 422, is_policy: false }
    /// `spec.type` is not a type of Tool.
    UnknownToolType { code: 422, is_policy: false }
    /// An Agent or Tool that this version cannot read, or a pod of one.
    Unreadable { code: 422, is_policy: false }
    /// A placeholder image that admission cannot replace, or that is still there afterwards.
    UnresolvedPlaceholder { code: 422, is_policy: false }
}

impl Reason {
    /// True for a forbidden object, false for an invalid one.
    #[must_use]
    pub(crate) fn is_forbidden(self) -> bool {
        self.code() == 403
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
