//! The image of each container, and the rule that chose it.
//!
//! ```text
//! [ Component ] -> [ Row ] -> [ resource | override | mirror | default ] -> [ Resolution ]
//! ```
//!
//! [`MATRIX`] is the only table of images; [`ImageSettings`] holds the manager's variables for
//! them; [`resolve`] combines the two and returns a reference *and* the rule that chose it. All
//! code that needs an image calls it.
//!
//! Invariant: behaviour depends on an image's row, never on its name. This module is pure: no
//! clock, no environment, no network.

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
