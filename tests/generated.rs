//! What is written from the tables of the program is what they say today.
//!
//! `.ci/generate` writes all of it anew. Each table has a module here that says where it stands, too.

#![cfg(test)]

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

fn policies_yaml(policies: &[AdmissionPolicy]) -> String {
    let documents = policies.iter().flat_map(|admission| {
        [to_yaml(&admission.policy), to_yaml(&admission.binding)]
            .map(|document| document.expect("it is YAML"))
    });
    documents
        .collect::<Vec<_>>()
        .join("---\n")
}

#[test]
fn the_policies_in_manifests_are_those_of_the_rules() {
    let ownership = policies_yaml(&[admission::ownership_policy()]);
    hold_file("manifests/ownership.yaml", &ownership);
    let references = policies_yaml(&admission::reference_policies());
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
    assert_eq!(printed, policies_yaml(&admission::admission_policies()));
}
