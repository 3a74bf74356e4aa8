//! `manifests/` holds what the Rust types and rules say.

use std::{fs, path::Path};

use agentkube::api;
use kube::ResourceExt;

#[test]
fn the_crds_in_manifests_are_those_of_the_types() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/crds");
    for crd in api::crds() {
        let path = directory.join(format!("{}.yaml", crd.name_any()));
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == api::to_yaml(&crd).expect("a CRD is YAML"),
            "{} is stale: run `cargo run -- crds --output-dir manifests/crds`",
            path.display()
        );
    }
    let files = fs::read_dir(&directory)
        .expect("manifests/crds")
        .count();
    assert_eq!(
        files,
        api::crds().len(),
        "manifests/crds holds a file that no type stands for"
    );
}

#[test]
fn the_policies_in_manifests_are_those_of_the_rules() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/policies.yaml");
    let output = assert_cmd::Command::cargo_bin("agentkube")
        .expect("the program")
        .arg("policies")
        .env_clear()
        .output()
        .expect("it runs");
    let printed = String::from_utf8(output.stdout).expect("text");
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        !printed.is_empty() && written == printed,
        "{} is stale: run `cargo run -- policies > manifests/policies.yaml`",
        path.display()
    );
}
