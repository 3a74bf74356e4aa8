//! Whether who writes an object may use what it names, as the API server's own authorizers say.
//!
//! `[ Review ] -> [ Reference ] -> [ Question ] -> [ TtlCache ] -> SubjectAccessReview`
//!
//! Invariant: what could not be answered is an error and never a yes.

mod authorizer;
mod question;

pub(crate) use authorizer::{AuthorityError, Authorizer};
