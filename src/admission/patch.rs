use json_patch::{AddOperation, PatchOperation};
use jsonptr::PointerBuf;
use serde_json::Value;

/// A JSON patch (RFC 6902) of `add` operations on exact paths of the raw object. `add` on a
/// member that exists replaces it, and the object is never written anew, so fields that this
/// program does not know of are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch(json_patch::Patch);

impl Patch {
    /// Whether there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The operations, in order.
    #[must_use]
    pub fn operations(&self) -> &json_patch::Patch {
        &self.0
    }

    /// The operations, in order, and nothing else.
    #[must_use]
    pub(crate) fn into_operations(self) -> json_patch::Patch {
        self.0
    }

    /// Adds the operations of a patch that was made for what this one gives.
    pub fn append(&mut self, mut later: Self) {
        self.0.0.append(&mut later.0.0);
    }

    /// Builds a path; `/` and `~` in a member's name are escaped.
    pub(super) fn path(members: &[&str]) -> PointerBuf {
        PointerBuf::from_tokens(members.iter().copied())
    }

    pub(super) fn add(&mut self, path: PointerBuf, value: Value) {
        self.0
            .0
            .push(PatchOperation::Add(AddOperation { path, value }));
    }
}
