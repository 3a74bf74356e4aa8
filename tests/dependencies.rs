//! Every direct dependency is justified in CONTRIBUTING.md, and every build script that may run is
//! described in docs/supply-chain.md.

#![cfg(test)]

use std::{collections::BTreeSet, path::Path, process::Command};

use serde_json::Value;

const CONTRIBUTING: &str = include_str!("../CONTRIBUTING.md");
const DENY: &str = include_str!("../deny.toml");
const SUPPLY_CHAIN: &str = include_str!("../docs/supply-chain.md");

#[test]
fn every_direct_dependency_has_its_line_in_contributing() {
    let program = dependencies(|package, kind| package == "agentkube" && kind != Some("dev"));
    let all = dependencies(|_, _| true);
    let members = BTreeSet::from(["agentkube".to_owned(), "agentkube-playground".to_owned()]);
    let tests: BTreeSet<String> = &(&all - &program) - &members;

    assert_same(
        "the table \"Of the program\" in CONTRIBUTING.md",
        &first_column(CONTRIBUTING, "### Of the program"),
        &program,
    );
    assert_same(
        "the table \"Of the tests\" in CONTRIBUTING.md",
        &first_column(CONTRIBUTING, "### Of the tests"),
        &tests,
    );
}

#[test]
fn every_build_script_that_may_run_is_described() {
    let allowed = DENY
        .split_once("allow-build-scripts = [")
        .and_then(|(_, rest)| rest.split_once(']'))
        .map(|(list, _)| list.split('"').skip(1).step_by(2))
        .expect("deny.toml lists the build scripts")
        .map(str::to_owned)
        .collect();
    assert_same(
        "the table \"Build scripts\" in docs/supply-chain.md",
        &first_column(SUPPLY_CHAIN, "## Build scripts"),
        &allowed,
    );
}

#[test]
fn every_member_forbids_unsafe_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest =
        |path: &str| std::fs::read_to_string(root.join(path)).expect("the manifest of a member");
    assert!(
        manifest("Cargo.toml").contains("[workspace.lints.rust]\nunsafe_code = \"forbid\"\n"),
        "the workspace does not forbid unsafe code"
    );
    for package in packages() {
        let path = text(&package["manifest_path"]);
        assert!(
            manifest(path).contains("[lints]\nworkspace = true\n"),
            "{path} does not take the lints of the workspace"
        );
    }
}

/// The names of the direct dependencies for which `wanted` holds, given the member and the kind:
/// none for a normal one, `dev` or `build`.
fn dependencies(wanted: impl Fn(&str, Option<&str>) -> bool) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for package in packages() {
        let dependencies = package["dependencies"].as_array();
        for dependency in dependencies.expect("a list") {
            if wanted(text(&package["name"]), dependency["kind"].as_str()) {
                names.insert(text(&dependency["name"]).to_owned());
            }
        }
    }
    names
}

/// The members of the workspace, as cargo understands their manifests.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args("metadata --format-version 1 --no-deps --offline".split(' '))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{output:?}");
    let mut metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    match metadata["packages"].take() {
        Value::Array(packages) => packages,
        other => panic!("packages is not a list: {other}"),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

/// What stands in backquotes in the first column of the first table below a heading. A row that
/// says nothing in its second column does not count.
fn first_column(document: &str, heading: &str) -> BTreeSet<String> {
    document
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (name, why) = line
                .strip_prefix("| `")?
                .split_once("` | ")?;
            (!why.trim_matches(['|', ' ']).is_empty()).then(|| name.to_owned())
        })
        .collect()
}

/// Both ways: a line for what is gone is as wrong as one that is missing.
fn assert_same(table: &str, written: &BTreeSet<String>, real: &BTreeSet<String>) {
    let missing: Vec<&String> = real.difference(written).collect();
    let stale: Vec<&String> = written.difference(real).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "{table}: no line for {missing:?}; nothing behind the line for {stale:?}"
    );
}
