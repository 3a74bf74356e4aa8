/// An object, and on UPDATE what it was before.
#[derive(Debug)]
pub(super) struct Change<T> {
    pub(super) new: T,
    pub(super) old: Option<T>,
}

impl<T> Change<T> {
    /// Whether the object was there before, and is the same by this measure.
    pub(super) fn is_settled(&self, is_same: impl Fn(&T, &T) -> bool) -> bool {
        self.old
            .as_ref()
            .is_some_and(|old| is_same(&self.new, old))
    }
}
