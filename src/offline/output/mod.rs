//! A verdict, and the two forms that it is printed in: text and `JUnit`.

pub(in crate::offline) mod cause;
pub(in crate::offline) mod junit;
pub(in crate::offline) mod text;
pub(in crate::offline) mod verdict;
