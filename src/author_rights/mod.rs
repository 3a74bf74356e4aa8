//! Whether who writes an object may use what it names, as the API server's own authorizers say.
//!
//! `[ Review ] -> [ Reference ] -> [ Question ] -> [ Answers, for a moment ] -> SubjectAccessReview`
//!
//! Invariant: what could not be answered is an error and never a yes.

mod answers;
mod authorizer;
mod question;

pub use authorizer::{AuthorityError, Authorizer};
