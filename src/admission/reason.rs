use std::fmt;

/// Why something was refused: the closed set that causes, logs and metrics speak in.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Reason {
    /// Runtime Custom, or Tool type custom, without `spec.image`.
    ImageRequired,
    /// `spec.image` is not an image reference.
    InvalidImage,
    /// A Tool's probe would have the kubelet ask another host than the Tool's own pod.
    InvalidProbe,
    /// A reference to a Secret lacks its name or key, or has one that is not legal.
    InvalidSecretRef,
    /// The request is not a review that agentkube serves.
    MalformedReview,
    /// A pod's label names another owner than before, or than its controller.
    OwnerMismatch,
    /// The token variable is set to a literal.
    PlaintextToken,
    /// The object names a Secret, a ConfigMap or a ServiceAccount that its author may not use.
    ReferenceNotPermitted,
    /// An image that would run is outside the allowed registries.
    RegistryNotAllowed,
    /// The spec has more bytes than a spec may have.
    SpecTooLarge,
    /// The Agent that a pod is labelled with does not exist.
    UnknownAgent,
    /// `spec.runtime` is not in the matrix.
    UnknownRuntime,
    /// The Tool that a pod is labelled with does not exist.
    UnknownTool,
    /// `spec.type` is not a type of Tool.
    UnknownToolType,
    /// An Agent or Tool that this version cannot read, or a pod of one.
    Unreadable,
    /// A placeholder image that admission cannot replace, or that is still there afterwards.
    UnresolvedPlaceholder,
}

impl Reason {
    /// Every reason, in the order of the alphabet.
    pub const ALL: [Self; 16] = [
        Self::ImageRequired,
        Self::InvalidImage,
        Self::InvalidProbe,
        Self::InvalidSecretRef,
        Self::MalformedReview,
        Self::OwnerMismatch,
        Self::PlaintextToken,
        Self::ReferenceNotPermitted,
        Self::RegistryNotAllowed,
        Self::SpecTooLarge,
        Self::UnknownAgent,
        Self::UnknownRuntime,
        Self::UnknownTool,
        Self::UnknownToolType,
        Self::Unreadable,
        Self::UnresolvedPlaceholder,
    ];

    /// The word as it stands in `details.causes[].reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ImageRequired => "ImageRequired",
            Self::InvalidImage => "InvalidImage",
            Self::InvalidProbe => "InvalidProbe",
            Self::InvalidSecretRef => "InvalidSecretRef",
            Self::MalformedReview => "MalformedReview",
            Self::OwnerMismatch => "OwnerMismatch",
            Self::PlaintextToken => "PlaintextToken",
            Self::ReferenceNotPermitted => "ReferenceNotPermitted",
            Self::RegistryNotAllowed => "RegistryNotAllowed",
            Self::SpecTooLarge => "SpecTooLarge",
            Self::UnknownAgent => "UnknownAgent",
            Self::UnknownRuntime => "UnknownRuntime",
            Self::UnknownTool => "UnknownTool",
            Self::UnknownToolType => "UnknownToolType",
            Self::Unreadable => "Unreadable",
            Self::UnresolvedPlaceholder => "UnresolvedPlaceholder",
        }
    }
}

impl Reason {
    /// Whether it is a policy that an admin has set, and may choose only to warn of.
    #[must_use]
    pub fn is_policy(self) -> bool {
        matches!(self, Self::PlaintextToken | Self::RegistryNotAllowed)
    }

    /// Whether the object is forbidden, and not invalid: it could be right in another cluster.
    #[must_use]
    pub fn is_forbidden(self) -> bool {
        matches!(self, Self::ReferenceNotPermitted | Self::RegistryNotAllowed)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
