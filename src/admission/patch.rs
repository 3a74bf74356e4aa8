use json_patch::{AddOperation, PatchOperation};
use jsonptr::PointerBuf;
use serde_json::Value;

/// A JSON patch (RFC 6902) of `add` operations on exact paths of the raw object. `add` replaces an
/// existing member. The object is never serialized again, so unknown fields are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch(json_patch::Patch);

impl Patch {
    /// True if there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The operations, in order.
    #[must_use]
    pub fn operations(&self) -> &json_patch::Patch {
        &self.0
    }

    /// The operations, in order, without copying them.
    #[must_use]
    pub(crate) fn into_operations(self) -> json_patch::Patch {
        self.0
    }

    /// Appends a patch that was made for the result of this one.
    pub fn append(&mut self, mut later: Self) {
        self.0.0.append(&mut later.0.0);
    }

    /// Builds a path, with `/` and `~` escaped in member names.
    pub(super) fn path(members: &[&str]) -> PointerBuf {
        PointerBuf::from_tokens(members.iter().copied())
    }

    pub(super) fn add(&mut self, path: PointerBuf, value: Value) {
        self.0
            .0
            .push(PatchOperation::Add(AddOperation { path, value }));
    }
}
