//! Why something is refused: the one table of reasons.

use std::fmt;

/// Makes the enum and its facts from the table below. The doc comment of a reason is the sentence that
/// the documents say of it.
macro_rules! reasons {
    ($(
        $(#[doc = $help:literal])+
        $reason:ident { code: $code:literal, is_policy: $is_policy:literal }
    )+) => {
        /// Why something was refused: the closed set that causes, logs and metrics speak in.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Reason {
            $($(#[doc = $help])+ $reason,)+
        }

        impl Reason {
            /// Every reason, in the order of the alphabet.
            pub const ALL: &'static [Self] = &[$(Self::$reason),+];

            /// The word as it stands in `details.causes[].reason`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$reason => stringify!($reason),)+
                }
            }

            /// The HTTP status of a denial that has no other reason: 422, it can be right nowhere; 403,
            /// it could be right in another cluster.
            #[must_use]
            pub fn code(self) -> u16 {
                match self {
                    $(Self::$reason => $code,)+
                }
            }

            /// Whether it is a policy that an admin has set, and may choose only to warn of.
            #[must_use]
            pub fn is_policy(self) -> bool {
                match self {
                    $(Self::$reason => $is_policy,)+
                }
            }

            /// The sentence that says what is wrong.
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
    /// Whether the object is forbidden, and not invalid.
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
