//! Checks that the author of an object may use the objects that it names, by asking the API
//! server's authorizers.
//!
//! `[ Review ] -> [ Reference ] -> [ Question ] -> [ TtlCache ] -> SubjectAccessReview`
//!
//! Invariant: a question without an answer is an error and never a yes.

mod authorizer;
mod question;

pub(crate) use authorizer::{AuthorityError, Authorizer};
