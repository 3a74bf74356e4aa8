//! Mirror plans, run by the real tools against a real registry, and what `agentkube images check`
//! says of the result.

#![cfg(test)]

mod files;

use std::process::{Command, Output};

use agentkube::images::rows;
use agentkube_playground::{MirrorTools, Registry, SmallImage};
use serde_json::Value;

const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// Runs `agentkube images` with an empty environment.
fn images(arguments: &[&str]) -> Output {
    Command::new(assert_cmd::cargo::cargo_bin("agentkube"))
        .arg("images")
        .args(arguments)
        .env_clear()
        .output()
        .expect("it runs")
}

/// What is needed, or the reason why there is nothing to test with.
async fn tools() -> Option<MirrorTools> {
    let skopeo = Command::new("skopeo")
        .arg("--version")
        .output()
        .map(|_| ())
        .map_err(|error| {
            format!("`skopeo` cannot be run ({error})\n\nhint: it is a Debian package: `apt-get install skopeo`")
        });
    let tools = MirrorTools::locate()
        .await
        .map_err(|error| format!("{error:#}"));
    match skopeo.and(tools) {
        Ok(tools) => Some(tools),
        Err(reason) if std::env::var("CI").is_ok_and(|value| value == "true") => {
            panic!("under CI=true the tests of mirroring may not be skipped: {reason}")
        }
        Err(reason) => {
            eprintln!("\nSKIPPED: the tests of mirroring need their tools\n{reason}\n");
            None
        }
    }
}

/// A registry that holds every default image, as Docker Hub does, with the images by repository.
async fn hub(tools: &MirrorTools) -> (Registry, Vec<(&'static str, SmallImage)>) {
    let registry = Registry::start(&tools.registry)
        .await
        .expect("it starts");
    let mut pushed = Vec::new();
    for row in rows() {
        let Some(repository) = row.repository else {
            continue;
        };
        let image = SmallImage::new(repository, &PLATFORMS);
        registry
            .push(repository, row.tag, &image)
            .expect("it is pushed");
        pushed.push((repository, image));
    }
    (registry, pushed)
}

/// Writes a plan and runs the very command that its heading names.
async fn fill(tools: &MirrorTools, format: &str, arguments: &[&str]) {
    let output = images(
        &[
            &["plan", "--insecure-registry", "--format", format],
            arguments,
        ]
        .concat(),
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let plan = String::from_utf8(output.stdout).expect("a plan is text");
    tools
        .run(&plan)
        .await
        .expect("the tool takes the plan");
}

/// The exit status, the report, and what was said, of a check of one mirror.
fn check(prefix: &str, layout: &str, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let registry = format!("AGENTKUBE_IMAGE_REGISTRY={prefix}");
    let layout = format!("AGENTKUBE_MIRROR_LAYOUT={layout}");
    let output = images(
        &[
            &["check", "-o", "json", "--insecure-registry"],
            &["--set", &registry, "--set", &layout][..],
            arguments,
        ]
        .concat(),
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    (output.status.code(), report, said)
}

const BOTH: [&str; 4] = ["--platform", "linux/amd64", "--platform", "linux/arm64"];

#[tokio::test]
async fn each_tool_fills_a_mirror_in_each_layout() {
    let Some(tools) = tools().await else { return };
    let (registry, pushed) = hub(&tools).await;
    for format in ["crane", "regsync", "skopeo"] {
        for layout in ["repository", "name"] {
            let to = format!("{}/{format}/{layout}", registry.address());
            let setting = format!("AGENTKUBE_MIRROR_LAYOUT={layout}");
            let plan = ["--from", registry.address(), "--to", &to, "--set", &setting];
            fill(&tools, format, &plan).await;

            let (status, report, said) = check(&to, layout, &BOTH);
            assert_eq!(status, Some(0), "{format} {layout}: {said}");
            let found = report["images"]
                .as_array()
                .expect("images");
            assert_eq!(found.len(), pushed.len());
            for (found, (repository, image)) in found.iter().zip(&pushed) {
                assert_eq!(found["digest"], image.digest(), "{repository}");
                assert_eq!(
                    found["platforms"]
                        .as_array()
                        .map(Vec::len),
                    Some(2)
                );
            }
            for (node, platform) in report["nodes"]
                .as_array()
                .expect("nodes")
                .iter()
                .zip(PLATFORMS)
            {
                let images = pushed.iter().map(|(_, image)| image);
                assert_eq!(node["platform"], platform);
                assert_eq!(node["images"], pushed.len());
                assert_eq!(node["bytes"], SmallImage::bytes_once(images, platform));
            }
        }
    }
}

#[tokio::test]
async fn a_forgotten_image_is_named() {
    let Some(tools) = tools().await else { return };
    let (registry, pushed) = hub(&tools).await;
    // What Docker Hub holds is a mirror, too, without anything being copied.
    let (status, _, said) = check(registry.address(), "repository", &[]);
    assert_eq!(status, Some(0), "{said}");

    let (repository, image) = pushed.last().expect("images");
    registry
        .delete(repository, &image.digest())
        .expect("it is deleted");
    let (status, report, said) = check(registry.address(), "repository", &[]);
    assert_eq!(status, Some(1));
    let statuses: Vec<_> = report["images"]
        .as_array()
        .expect("images")
        .iter()
        .filter(|found| found["status"] != "present")
        .map(|found| (&found["components"][0], &found["status"]))
        .collect();
    let last = rows()
        .filter(|row| row.repository.is_some())
        .last()
        .expect("a row");
    assert_eq!(
        statuses,
        [(&Value::from(last.name), &Value::from("missing"))]
    );
    assert_eq!(
        said,
        format!(
            "error: `{}/{repository}:v0.3.0`: there is no such image\n",
            registry.address()
        )
    );
}

#[tokio::test]
async fn a_missing_platform_is_told_from_a_missing_image() {
    let Some(tools) = tools().await else { return };
    let (registry, _) = hub(&tools).await;
    let image = SmallImage::new("acme/agent", &["linux/amd64"]);
    registry
        .push("acme/agent", "v1", &image)
        .expect("it is pushed");
    let custom = format!("{}/acme/agent:v1", registry.address());
    let arguments = [&BOTH[..], &["--custom", &custom]].concat();
    let (status, report, said) = check(registry.address(), "repository", &arguments);
    assert_eq!(status, Some(1));
    assert_eq!(
        said,
        format!("error: `{custom}`: not there for linux/arm64\n")
    );
    assert_eq!(report["images"][10]["status"], "missingPlatform");
    assert_eq!(report["images"][10]["missingPlatforms"][0], "linux/arm64");
}

#[tokio::test]
async fn digests_and_other_organisations_are_copied() {
    let Some(tools) = tools().await else { return };
    let (registry, _) = hub(&tools).await;
    let address = registry.address();
    let image = SmallImage::new("acme/agent", &PLATFORMS);
    registry
        .push("acme/agent", "v1", &image)
        .expect("it is pushed");
    let digest = image.digest();
    for format in ["crane", "regsync"] {
        let to = format!("{address}/{format}");
        for version in [
            format!(":v1@{digest}"),
            format!("@{digest}"),
            ":v1".to_owned(),
        ] {
            let custom = format!("{address}/acme/agent{version}");
            let plan = ["--from", address, "--to", &to, "--custom", &custom];
            fill(&tools, format, &plan).await;
            let copy = format!("{to}/acme/agent{version}");
            let (status, report, said) = check(&to, "repository", &["--custom", &copy]);
            assert_eq!(status, Some(0), "{format}: {said}");
            assert_eq!(report["images"][10]["digest"], *digest);
            registry
                .delete(&format!("{format}/acme/agent"), &digest)
                .expect("it is deleted");
        }
    }
}

#[tokio::test]
async fn skopeo_copies_by_digest() {
    let Some(tools) = tools().await else { return };
    let (registry, _) = hub(&tools).await;
    let address = registry.address();
    let image = SmallImage::new("adaptivelive/agent", &PLATFORMS);
    registry
        .push("adaptivelive/agent", "v1", &image)
        .expect("it is pushed");
    let to = format!("{address}/exo");
    let version = format!("agent@{}", image.digest());
    let custom = format!("{address}/adaptivelive/{version}");
    fill(
        &tools,
        "skopeo",
        &["--from", address, "--to", &to, "--custom", &custom],
    )
    .await;
    let copy = format!("{to}/adaptivelive/{version}");
    let (status, _, said) = check(&to, "repository", &["--custom", &copy]);
    assert_eq!(status, Some(0), "{said}");
}
