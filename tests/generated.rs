//! What is written from the tables of the program is what they say today.
//!
//! `.ci/generate` writes all of it anew. Each table has a module here that says where it stands, too.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected has failed"
)]

#[path = "generated/files.rs"]
mod files;
#[path = "generated/matrix.rs"]
mod matrix;
#[path = "generated/metrics.rs"]
mod metrics;
#[path = "generated/reasons.rs"]
mod reasons;
#[path = "generated/settings.rs"]
mod settings;
#[path = "generated/webhooks.rs"]
mod webhooks;

use std::{fs, path::Path};

use agentkube::{
    admission::{self, AdmissionPolicy},
    api::{self, to_yaml},
};
use kube::ResourceExt;

use files::hold_file;

#[test]
fn the_crds_in_manifests_are_those_of_the_types() {
    for crd in api::crds() {
        let path = format!("manifests/crds/{}.yaml", crd.name_any());
        hold_file(&path, &to_yaml(&crd).expect("a CRD is YAML"));
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/crds");
    assert_eq!(
        fs::read_dir(directory)
            .expect("manifests/crds")
            .count(),
        api::crds().len(),
        "manifests/crds holds a file that no type stands for"
    );
}

#[test]
fn the_policies_in_manifests_are_those_of_the_rules() {
    let yaml = |policies: &[AdmissionPolicy]| {
        let documents = policies.iter().flat_map(|admission| {
            [
                to_yaml(&admission.policy).expect("it is YAML"),
                to_yaml(&admission.binding).expect("it is YAML"),
            ]
        });
        documents
            .collect::<Vec<_>>()
            .join("---\n")
    };
    let ownership = yaml(&[admission::ownership_policy()]);
    hold_file("manifests/ownership.yaml", &ownership);
    let references = yaml(&admission::reference_policies());
    hold_file("manifests/policies.yaml", &references);
}

#[test]
fn the_command_prints_every_policy() {
    let output = assert_cmd::Command::cargo_bin("agentkube")
        .expect("the program")
        .arg("policies")
        .env_clear()
        .output()
        .expect("it runs");
    let printed = String::from_utf8(output.stdout).expect("text");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let [ownership, references] = ["ownership", "policies"].map(|name| {
        fs::read_to_string(root.join(format!("manifests/{name}.yaml"))).expect("a file")
    });
    assert_eq!(printed, format!("{ownership}---\n{references}"));
}
