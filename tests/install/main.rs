//! An installation: what it is made of (the kustomize base, its components, the Helm chart that says the same),
//! and what becomes of it on a control plane that has nothing else, by the words of `docs/operations.md`.

#![cfg(test)]

mod certmanager;
mod chart;
mod client_auth;
mod components;
mod document;
mod ground;
mod helm;
mod kustomize;
mod operations;

use std::path::PathBuf;

use agentkube_playground::Manifest;
use serde_json::Value;

/// A file of this repository.
fn path(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What is needed, or a word of why the test is skipped; under CI=true it may not be.
fn needed<T>(found: anyhow::Result<T>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(reason) if std::env::var("CI").is_ok_and(|value| value == "true") => {
            panic!("under CI=true the tests of the installation may not be skipped: {reason:#}")
        }
        Err(reason) => {
            eprintln!("\nSKIPPED: a test of the installation needs its tools\n{reason:#}\n");
            None
        }
    }
}

/// The only object of a kind.
fn find<'m>(manifests: &'m [Manifest], kind: &str) -> &'m Value {
    let mut found = manifests
        .iter()
        .filter(|manifest| manifest.kind == kind);
    let first = found
        .next()
        .unwrap_or_else(|| panic!("there is no {kind}"));
    assert!(found.next().is_none(), "there is more than one {kind}");
    &first.object
}

/// The pod that the Deployment makes.
fn pod(manifests: &[Manifest]) -> &Value {
    &find(manifests, "Deployment")["spec"]["template"]["spec"]
}

/// A list of a document, empty where there is none.
fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// The settings in the Deployment, by the names of their variables.
fn settings(manifests: &[Manifest]) -> Vec<(String, String)> {
    list(&pod(manifests)["containers"][0]["env"])
        .iter()
        .filter_map(|variable| {
            let text = |member: &str| {
                variable[member]
                    .as_str()
                    .map(str::to_owned)
            };
            Some((text("name")?, text("value")?))
        })
        .collect()
}
