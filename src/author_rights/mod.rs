//! Checks that the author of an object may use the objects that it names, by asking the API
//! server's authorizers.
//!
//! `[ Review ] -> [ Reference ] -> [ Question ] -> [ Answers, for a moment ] -> SubjectAccessReview`
//!
//! Invariant: a question without an answer is an error and never a yes.

mod answers;
mod authorizer;
mod question;

pub use authorizer::{AuthorityError, Authorizer};
