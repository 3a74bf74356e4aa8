//! The command line, as a shell sees it.

#![cfg(test)]

use std::{net::TcpListener, process::Output};

use assert_cmd::Command;
use insta::assert_snapshot;

/// Runs `agentkube` with nothing in its environment but `variables`.
fn agentkube(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::cargo_bin("agentkube")
        .expect("the binary is built")
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .expect("it runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Ports that nobody else uses: the system chooses them.
const PORTS: [&str; 4] = [
    "manager",
    "--webhook-address=127.0.0.1:0",
    "--metrics-address=127.0.0.1:0",
    "--probe-address=127.0.0.1:0",
];

#[test]
fn help_shows_the_commands_and_an_example() {
    let output = agentkube(&["--help"], &[]);
    assert!(output.status.success());
    assert_snapshot!(String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_managers_help_shows_every_option() {
    let output = agentkube(&["manager", "--help"], &[]);
    assert!(output.status.success());
    assert_snapshot!(String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_crds_are_printed_as_yaml_documents() {
    let output = agentkube(&["crds"], &[]);
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        text.matches("---\napiVersion: apiextensions.k8s.io/v1\n")
            .count(),
        3
    );
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let output = agentkube(&["crds", "--output-dir", "/nowhere"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_snapshot!(stderr(&output), @"error: could not write /nowhere/agents.agentkube.io.yaml: No such file or directory (os error 2)");
}

#[test]
fn an_unknown_option_exits_with_2() {
    assert_eq!(
        agentkube(&["manager", "--tls"], &[])
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn all_wrong_settings_are_named_at_once() {
    let settings = [
        ("AGENTKUBE_IMAGE_CODXE", "quay.io/a/b:c"),
        ("AGENTKUBE_PULL_SECRETS", "a,,b"),
    ];
    let output = agentkube(&PORTS, &settings);
    assert_eq!(output.status.code(), Some(1));
    assert_snapshot!(stderr(&output));
}

#[test]
fn a_kubeconfig_that_cannot_be_read_is_named() {
    let output = agentkube(&PORTS, &[("KUBECONFIG", "/nowhere/kubeconfig")]);
    assert_eq!(output.status.code(), Some(1));
    assert_snapshot!(stderr(&output));
}

#[test]
fn a_check_says_everything_that_is_wrong_before_a_cluster_is_there() {
    let settings = [
        ("AGENTKUBE_IMAGE_CODXE", "quay.io/a/b:c"),
        ("KUBECONFIG", "/nowhere/kubeconfig"),
    ];
    let output = agentkube(
        &["manager", "--check", "--client-ca=/nowhere/ca.crt"],
        &settings,
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "");
    assert_snapshot!(String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_scan_without_a_cluster_exits_with_2_and_says_where_it_looked() {
    let nowhere = [("KUBECONFIG", "/nowhere/kubeconfig")];
    let output = agentkube(&["audit", "scan"], &nowhere);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    assert_snapshot!(stderr(&output));
    let output = agentkube(&["audit", "scan", "--env-file", "/nowhere/env"], &nowhere);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_scans_help_says_what_it_needs_and_how_it_exits() {
    let output = agentkube(&["audit", "scan", "--help"], &[]);
    assert!(output.status.success());
    assert_snapshot!(String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_port_in_use_is_named_with_the_option_that_changes_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken
        .local_addr()
        .expect("an address")
        .to_string();
    let output = agentkube(&["manager", "--webhook-address", &address], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_snapshot!(stderr(&output).replace(&address, "127.0.0.1:9443"));
}
