//! Which image runs, and why.
//!
//! ```text
//! [ Component ] -> [ Row ] -> [ resource | override | mirror | default ] -> [ Resolution ]
//! ```
//!
//! The matrix stands in one place, [`MATRIX`]; [`ImageSettings`] is what the manager's variables
//! say about it; [`resolve`] joins the two and answers with a reference *and* the rule that chose
//! it. Everything that needs an image asks here.
//!
//! Invariant: no behaviour depends on what an image is called, only on its row. This module is
//! pure: no clock, no environment, no network.

mod matrix;
mod mirror;
mod nearest;
mod reference;
mod resolve;
mod rewrite;
mod runtime;
mod settings;

pub use matrix::{Component, ComponentKind, MATRIX, Row, rows};
pub use mirror::{Mirror, MirrorLayout, MirrorPrefix, PrefixError, UnknownLayout};
pub use nearest::nearest;
pub use reference::{DEFAULT_REGISTRY, ImageReference, ReferenceError, normalized};
pub use resolve::{Resolution, Source, candidates, own_image, resolve};
pub use rewrite::rewrite_default;
pub use runtime::{Runtime, UnknownRuntime, runtimes};
pub use settings::{ImageSettings, REGISTRY_VARIABLE, SettingProblem};
pub(crate) use settings::{OVERRIDE_PREFIX, WrongValue};
