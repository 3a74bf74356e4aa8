//! x
pub mod images;
