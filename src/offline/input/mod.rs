//! From text to documents: YAML and JSON, each document with its line.

pub(in crate::offline) mod document;
pub(in crate::offline) mod documents;
pub(in crate::offline) mod json;
pub(in crate::offline) mod printable;
