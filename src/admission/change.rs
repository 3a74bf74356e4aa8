/// An object, and on UPDATE its previous state.
#[derive(Debug)]
pub(super) struct Change<T> {
    pub(super) new: T,
    pub(super) old: Option<T>,
}

impl<T> Change<T> {
    /// True on UPDATE if the object is the same as before by this measure.
    pub(super) fn is_settled(&self, is_same: impl Fn(&T, &T) -> bool) -> bool {
        self.old
            .as_ref()
            .is_some_and(|old| is_same(&self.new, old))
    }
}
