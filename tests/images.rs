//! `agentkube images`, as a shell sees it.

#![cfg(test)]

use std::{fs, process::Output};

use agentkube::images::{Row, rows};
use assert_cmd::Command;
use insta::assert_snapshot;

const MIRROR: &str = "AGENTKUBE_IMAGE_REGISTRY=registry.example.com/mirror";

/// The images of all rows that have one.
fn defaults() -> Vec<String> {
    rows()
        .filter_map(Row::default_image)
        .map(|image| image.as_str().to_owned())
        .collect()
}

/// Runs `agentkube images` with an empty environment.
fn images(arguments: &[&str]) -> Output {
    Command::cargo_bin("agentkube")
        .expect("the binary is built")
        .arg("images")
        .args(arguments)
        .env_clear()
        .output()
        .expect("it runs")
}

fn stdout(arguments: &[&str]) -> String {
    let output = images(arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_table_says_which_rule_chose_each_image() {
    assert_snapshot!(stdout(&[
        "--set",
        MIRROR,
        "--set",
        "AGENTKUBE_IMAGE_CODEX=ghcr.io/acme/codex:v9"
    ]));
}

#[test]
fn the_wide_table_says_what_would_run_without_the_rule() {
    assert_snapshot!(stdout(&[
        "-o",
        "wide",
        "--set",
        MIRROR,
        "--custom",
        "ghcr.io/acme/agent:v1"
    ]));
}

#[test]
fn json_and_yaml_say_the_same() {
    let arguments = ["--set", MIRROR, "--custom", "ghcr.io/acme/agent:v1"];
    let written = |format| stdout(&[&arguments[..], &["-o", format]].concat());
    let json: serde_json::Value = serde_json::from_str(&written("json")).expect("JSON");
    let yaml: serde_json::Value = serde_saphyr::from_str(&written("yaml")).expect("YAML");
    assert_eq!(json, yaml);
    assert_snapshot!(serde_json::to_string_pretty(&json[3]).expect("JSON"));
    let last = &json[defaults().len()];
    assert_eq!(last["image"], "ghcr.io/acme/agent:v1");
    assert_eq!(last["source"], "resource");
}

#[test]
fn names_are_references_alone_each_once() {
    let custom = [
        "--custom",
        "ghcr.io/acme/agent:v1",
        "--custom",
        "ghcr.io/acme/agent:v1",
    ];
    let text = stdout(&[&["-o", "names"][..], &custom].concat());
    let mut expected = defaults();
    expected.push("ghcr.io/acme/agent:v1".to_owned());
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn wrong_settings_and_images_are_named() {
    let output = images(&[
        "--set",
        "AGENTKUBE_IMAGE_REGISTRY=https://mirror.example.com",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert_snapshot!(stderr(&output));
    let output = images(&["--custom", "https://mirror.example.com/app"]);
    assert_eq!(output.status.code(), Some(2));
    assert_snapshot!(stderr(&output));
}

#[test]
fn a_plan_lands_where_pods_look() {
    let plan = ["plan", "--to", "registry.example.com/mirror"];
    for layout in ["name", "repository"] {
        let layout = format!("AGENTKUBE_MIRROR_LAYOUT={layout}");
        let looked_for = stdout(&["-o", "names", "--set", MIRROR, "--set", &layout]);
        let text = stdout(&[&plan[..], &["--format", "regsync", "--set", &layout]].concat());
        let targets: Vec<_> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("target: "))
            .map(|target| target.trim_matches('"'))
            .collect();
        assert_eq!(targets, looked_for.lines().collect::<Vec<_>>());
    }
}

#[test]
fn a_plan_for_docker_hub_can_start_from_its_mirror() {
    assert_snapshot!(stdout(&[
        "plan",
        "--to",
        "localhost:5000/exo",
        "--from",
        "localhost:5001",
        "--insecure-registry",
        "--format",
        "skopeo"
    ]));
}

#[test]
fn a_prefix_that_is_none_is_explained() {
    for prefix in [
        "https://mirror.example.com",
        "mirror",
        "mirror.example.com/app:v1",
        "mirror.example.com/app@sha256:00",
    ] {
        let output = images(&["plan", "--to", prefix, "--format", "crane"]);
        assert_eq!(output.status.code(), Some(2), "{prefix}");
        assert!(stderr(&output).contains("hint: "), "{}", stderr(&output));
    }
}

#[test]
fn what_a_tool_cannot_do_is_an_error_that_names_the_one_that_can() {
    let output = images(&[
        "plan",
        "--to",
        "registry.example.com",
        "--format",
        "skopeo",
        "--custom",
        "ghcr.io/acme/agent:v1",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"");
    assert_snapshot!(stderr(&output));
}

#[test]
fn a_check_that_could_not_be_made_exits_with_2() {
    for (arguments, named) in [
        (
            ["--set", "AGENTKUBE_IMAGE_CODXE=x"],
            "AGENTKUBE_IMAGE_CODXE",
        ),
        (["--docker-config", "/nowhere.json"], "/nowhere.json"),
        (["--docker-config", "/dev/null"], "/dev/null"),
        (["--ca-file", "/nowhere.pem"], "/nowhere.pem"),
        (["--ca-file", "/dev/null"], "/dev/null"),
        (["--platform", "arm64"], "arm64"),
        (["--env-file", "/nowhere.env"], "/nowhere.env"),
    ] {
        let output = images(&[&["check"][..], &arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(output.stdout, b"");
        assert!(stderr(&output).contains(named), "{}", stderr(&output));
    }
}

#[test]
fn the_settings_are_those_of_the_cluster_or_others_and_never_both() {
    let plan = ["plan", "--to", "registry.example.com", "--format", "crane"];
    for command in [&[][..], &["check"], &plan] {
        for source in ["--set", "--env-file", "--manager"] {
            let output = images(&[command, &["--from-cluster", source, "A=B"]].concat());
            assert_eq!(output.status.code(), Some(2), "{command:?} {source}");
            assert!(stderr(&output).contains(source), "{}", stderr(&output));
        }
        let output = images(&[command, &["--from-cluster"]].concat());
        // A check that could not be made has a status of its own.
        let expected = if command == ["check"] { 2 } else { 1 };
        assert_eq!(output.status.code(), Some(expected), "{command:?}");
        assert_eq!(output.stdout, b"");
        assert!(
            stderr(&output).starts_with("error: no cluster to connect to: "),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn a_registry_that_is_down_is_told_from_a_missing_image() {
    // Nobody listens on port 1.
    let registry = "AGENTKUBE_IMAGE_REGISTRY=127.0.0.1:1";
    let output = images(&["check", "--set", registry, "-o", "json"]);
    assert_eq!(output.status.code(), Some(2));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["images"][0]["status"], "unreachable");
    assert!(
        stderr(&output).contains("Connection refused"),
        "{}",
        stderr(&output)
    );
}

/// Runs a check of a registry that is down, with stderr on a pseudo-terminal; what was said there,
/// and the report. The terminal is that of util-linux' `script`.
fn check_on_a_terminal(environment: &[(&str, &str)]) -> Option<(String, String)> {
    let directory = tempfile::tempdir().expect("a directory");
    let report = directory.path().join("report");
    let command = format!(
        "'{}' images check --set AGENTKUBE_IMAGE_REGISTRY=127.0.0.1:1 > '{}'",
        assert_cmd::cargo::cargo_bin("agentkube").display(),
        report.display()
    );
    let output = std::process::Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .envs(environment.iter().copied())
        .output();
    match output {
        Ok(output) => {
            assert_eq!(output.status.code(), Some(2));
            let said = String::from_utf8(output.stdout).expect("text");
            Some((said, fs::read_to_string(report).expect("a report")))
        }
        Err(error) if std::env::var("CI").is_ok_and(|value| value == "true") => {
            panic!("under CI=true the terminal may not be left out: {error}")
        }
        Err(error) => {
            eprintln!("\nSKIPPED: no terminal without `script` of util-linux: {error}\n");
            None
        }
    }
}

#[test]
fn a_terminal_shows_a_bar_and_a_pipe_does_not() {
    let bar = format!("asked for 0 of {} images", defaults().len());
    let Some((said, report)) = check_on_a_terminal(&[("TERM", "xterm")]) else {
        return;
    };
    assert!(said.contains(&bar), "{said:?}");
    assert!(said.contains("\u{1b}[36m"), "{said:?}");
    // The bar is gone before the errors are told, and never was in the data.
    let (_, after) = said
        .rsplit_once("images, ")
        .expect("a bar");
    assert!(after.contains("\u{1b}[2K"), "{said:?}");
    assert!(after.contains("error: `127.0.0.1:1/"), "{said:?}");
    assert!(report.starts_with("COMPONENT "), "{report}");
    assert!(!report.contains('\u{1b}'), "{report:?}");

    let (said, _) =
        check_on_a_terminal(&[("TERM", "xterm"), ("NO_COLOR", "1")]).expect("it ran before");
    assert!(said.contains(&bar), "{said:?}");
    assert!(!said.contains("\u{1b}[36m"), "{said:?}");
    // One that cannot move its cursor.
    let (said, _) = check_on_a_terminal(&[("TERM", "dumb")]).expect("it ran before");
    assert!(said.starts_with("error: "), "{said:?}");

    let piped = images(&["check", "--set", "AGENTKUBE_IMAGE_REGISTRY=127.0.0.1:1"]);
    let said = stderr(&piped);
    assert_eq!(said.lines().count(), defaults().len(), "{said}");
    assert!(
        said.lines()
            .all(|line| line.starts_with("error: ")),
        "{said}"
    );
}
