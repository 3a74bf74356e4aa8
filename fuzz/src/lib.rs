//! What has to hold for any input at all, one module a target.
//!
//! Each module has a function `check` that panics where something does not hold. The targets in
//! `fuzz_targets/` call it with what libFuzzer makes up; `tests/fuzz_corpus.rs` of the main
//! workspace includes the same modules and calls it with the files of `corpus/`.

pub mod credentials;
pub mod manifest;
pub mod mutation;
pub mod patch;
pub mod reference;
pub mod registry;
pub mod review;
pub mod settings;
pub mod world;
