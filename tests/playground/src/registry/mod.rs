//! Registries for tests of mirroring.
//!
//! ```text
//! SmallImage -> Registry -> MirrorTools (crane, regsync) -> Registry
//! ```

mod server;
mod small_image;
mod tools;

pub use server::Registry;
pub use small_image::SmallImage;
pub use tools::MirrorTools;
