//! The plans that are files and no commands: read as their tools read them, and followed to where
//! pods look.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{hub, images, tools};

/// The lines of `agentkube images -o names` with these arguments.
fn names(arguments: &[&str]) -> Vec<String> {
    text(&[&["-o", "names"], arguments].concat())
        .lines()
        .map(str::to_owned)
        .collect()
}

fn text(arguments: &[&str]) -> String {
    let output = images(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).expect("text")
}

/// Repository and tag of a reference with both, without its host.
fn path_and_tag(reference: &str) -> (&str, &str) {
    let (_, path) = reference
        .split_once('/')
        .expect("a host");
    path.rsplit_once(':').expect("a tag")
}

/// All that containerd reads of a `hosts.toml` (docs/hosts.md), so that a misspelt key is noticed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hosts {
    host: BTreeMap<String, Host>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Host {
    capabilities: Vec<String>,
    #[serde(default)]
    override_path: bool,
}

/// Where containerd asks for a manifest, by a `hosts.toml` with one host.
fn containerd_url(file: &str, image: &str) -> String {
    let Hosts { host } = toml::from_str(file).expect("a hosts.toml");
    let [(url, host)] = &Vec::from_iter(host)[..] else {
        panic!("{file}");
    };
    assert_eq!(host.capabilities, ["pull", "resolve"]);
    // The version of the API is added to whatever path there is, unless that is forbidden.
    let version = if host.override_path { "" } else { "/v2" };
    let (path, tag) = path_and_tag(image);
    format!("{url}{version}/{path}/manifests/{tag}")
}

#[test]
fn containerd_asks_where_pods_look() {
    for prefix in [
        "registry.example.com",
        "registry.example.com:5000",
        "registry.example.com/exo",
        "localhost:5000/exo/mirror",
    ] {
        let file = text(&["plan", "--to", prefix, "--format", "hosts"]);
        let setting = format!("AGENTKUBE_IMAGE_REGISTRY={prefix}");
        let copies = names(&["--set", &setting]);
        let defaults = names(&[]);
        assert_eq!(copies.len(), defaults.len());
        for (default, copy) in defaults.iter().zip(&copies) {
            let (host, _) = copy.split_once('/').expect("a host");
            let (path, tag) = path_and_tag(copy);
            assert_eq!(
                containerd_url(&file, default),
                format!("https://{host}/v2/{path}/manifests/{tag}")
            );
        }
        assert!(file.starts_with("# /etc/containerd/certs.d/docker.io/hosts.toml "));
    }
}

#[tokio::test]
async fn containerd_finds_what_a_tool_has_copied() {
    let Some(tools) = tools().await else { return };
    let (registry, _) = hub(&tools).await;
    let address = registry.address();
    let to = format!("{address}/exo/mirror");
    crate::fill(&tools, "regsync", &["--from", address, "--to", &to]).await;
    for prefix in [address, &to] {
        let plan = [
            "plan",
            "--to",
            prefix,
            "--format",
            "hosts",
            "--insecure-registry",
        ];
        let file = text(&plan);
        for image in names(&[]) {
            let url = containerd_url(&file, &image);
            let path = url
                .strip_prefix(&format!("http://{address}"))
                .expect("plain HTTP");
            assert!(
                registry
                    .serves(path)
                    .expect("an answer"),
                "{url}"
            );
        }
    }
}

/// What oc-mirror reads of its configuration, as far as plans use it (`v2alpha1`).
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ImageSetConfiguration {
    kind: String,
    api_version: String,
    mirror: Mirror,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Mirror {
    additional_images: Vec<AdditionalImage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdditionalImage {
    name: String,
}

#[test]
fn oc_mirror_lands_where_pods_look() {
    let prefix = "registry.example.com:5000/exo/mirror";
    let custom = [
        "--custom",
        "nginx:1.29",
        "--custom",
        "ghcr.io/acme/agent:v1",
    ];
    let plan = ["plan", "--to", prefix, "--format", "oc-mirror"];
    let file = text(&[&plan[..], &custom].concat());
    let configuration: ImageSetConfiguration = serde_saphyr::from_str(&file).expect("YAML");
    assert_eq!(configuration.kind, "ImageSetConfiguration");
    assert_eq!(configuration.api_version, "mirror.openshift.io/v2alpha1");
    let command = file
        .lines()
        .find_map(|line| line.strip_prefix("# Run: "))
        .expect("a command");
    let destination = command
        .rsplit_once(" docker://")
        .map(|(_, destination)| destination);
    assert_eq!(destination, Some(prefix));

    let landed: Vec<_> = configuration
        .mirror
        .additional_images
        .iter()
        .map(|image| {
            // It knows no short names: what has no host is looked for on a host of that name.
            let (host, _) = image
                .name
                .split_once('/')
                .expect("a host");
            assert!(host.contains('.'), "{}", image.name);
            let (path, tag) = path_and_tag(&image.name);
            format!("{prefix}/{path}:{tag}")
        })
        .collect();
    let setting = format!("AGENTKUBE_IMAGE_REGISTRY={prefix}");
    let mut looked_for = names(&["--set", &setting]);
    looked_for.extend(["library/nginx:1.29", "acme/agent:v1"].map(|it| format!("{prefix}/{it}")));
    assert_eq!(landed, looked_for);
}
