use std::{fs, path::Path};

use agentkube_playground::{Binaries, Manifest, kustomize, parse_manifests};

use crate::{needed, path};

/// Every component, in the order in which its name stands in the alphabet.
pub(crate) const COMPONENTS: [&str; 8] = [
    "air-gapped",
    "cert-manager",
    "client-auth",
    "ha",
    "metrics-authorization",
    "monitoring",
    "pull-secret",
    "unasked-references",
];

/// What `kubectl kustomize` makes of the base alone.
pub(crate) async fn base() -> Option<Vec<Manifest>> {
    site("resources: [../manifests]\n").await
}

/// What `kubectl kustomize` makes of a folder beside `manifests` with this kustomization.
pub(crate) async fn site(kustomization: &str) -> Option<Vec<Manifest>> {
    let kubectl = needed(Binaries::locate().await)?.kubectl;
    let directory = tempfile::tempdir().expect("a directory");
    for folder in ["certs", "manifests"] {
        let link = directory.path().join(folder);
        std::os::unix::fs::symlink(path(folder), link).expect("a link");
    }
    let site = directory.path().join("site");
    fs::create_dir(&site).expect("a folder");
    fs::write(site.join("kustomization.yaml"), kustomization).expect("the site is written");
    // What the usage of `client-auth` takes into a ConfigMap.
    fs::write(site.join("ca.crt"), "an authority\n").expect("the authority is written");

    let rendered = kustomize(&kubectl, &site)
        .await
        .unwrap_or_else(|error| panic!("{kustomization}\n{error:#}"));
    Some(parse_manifests(Path::new("site.yaml"), &rendered).expect("manifests"))
}

/// How a component says that it is used, at its head.
pub(crate) fn usage(component: &str) -> String {
    let file = format!("manifests/components/{component}/kustomization.yaml");
    let text = fs::read_to_string(path(&file)).expect("a component");
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("#   "));
    lines.fold(String::new(), |usage, line| usage + line + "\n")
}

/// What `kubectl kustomize` makes of the base and a component, used as it says itself.
pub(crate) async fn with(component: &str) -> Option<Vec<Manifest>> {
    site(&usage(component)).await
}
