use std::borrow::{Borrow, Cow};

use serde::Deserialize;

/// A string inside a review, borrowed from the body unless it holds escapes.
#[derive(Clone, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(transparent)]
pub(in crate::admission) struct Text<'a>(#[serde(borrow)] pub(in crate::admission) Cow<'a, str>);

/// Lets a map with such keys be searched by `&str`.
impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Text<'_> {
    pub(in crate::admission) fn as_str(&self) -> &str {
        &self.0
    }
}
