use serde::{Serialize, Serializer};

use crate::images::{Component, ImageReference, ReferenceError};

/// An image that an Agent, a Tool or an option names, and its purpose.
#[derive(Clone, Debug)]
pub(super) struct OwnImage {
    pub(super) component: Component,
    pub(super) image: NamedImage,
}

/// An image reference as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NamedImage {
    /// Not a reference: an Agent that bypassed admission can name anything.
    Invalid {
        text: String,
        error: ReferenceError,
    },
    Valid(ImageReference),
}

impl NamedImage {
    /// The reference verbatim.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Invalid { text, .. } => text,
            Self::Valid(reference) => reference.as_str(),
        }
    }

    /// The normalized reference, equal for all spellings of one image.
    pub(super) fn normalized(&self) -> String {
        match self {
            Self::Invalid { text, .. } => text.clone(),
            Self::Valid(reference) => reference.normalized(),
        }
    }
}

impl From<String> for NamedImage {
    fn from(text: String) -> Self {
        match text.parse() {
            Ok(reference) => Self::Valid(reference),
            Err(error) => Self::Invalid { text, error },
        }
    }
}

impl Serialize for NamedImage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_str().serialize(serializer)
    }
}
