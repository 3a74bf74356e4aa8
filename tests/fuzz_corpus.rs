//! The corpora of the fuzz targets, replayed without a fuzzer: the modules are those of `fuzz/`.

#![cfg(test)]
#![expect(unreachable_pub, reason = "the modules are those of a library")]

use std::{fs, path::Path};

#[path = "../fuzz/src/credentials.rs"]
mod credentials;
#[path = "../fuzz/src/manifest.rs"]
mod manifest;
#[path = "../fuzz/src/patch.rs"]
mod patch;
#[path = "../fuzz/src/reference.rs"]
mod reference;
#[path = "../fuzz/src/registry.rs"]
mod registry;
#[path = "../fuzz/src/review.rs"]
mod review;
#[path = "../fuzz/src/settings.rs"]
mod settings;
#[path = "../fuzz/src/world.rs"]
mod world;

#[test]
fn everything_holds_for_manifests() {
    replay("manifest", manifest::check);
}

#[test]
fn everything_holds_for_patches() {
    replay("patch", patch::check);
}

#[test]
fn everything_holds_for_references() {
    replay("reference", reference::check);
}

#[test]
fn everything_holds_for_answers_of_registries() {
    replay("registry", registry::check);
}

#[test]
fn everything_holds_for_reviews() {
    replay("review", review::check);
}

#[test]
fn everything_holds_for_settings() {
    replay("settings", settings::check);
}

/// Calls a target with each file of its corpus, which it names before one fails.
fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("a corpus")
        .map(|file| file.unwrap().path())
        .collect();
    files.sort_unstable();
    assert!(files.len() >= 20, "{} files", files.len());
    for file in files {
        println!("{}", file.display());
        check(&fs::read(file).unwrap());
    }
}
