//! The input of each tool. Every reference is valid and so has no quotes, blanks, dollars or braces:
//! nothing has to be escaped, not even for the templates of regsync.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{FormatError, Plan, Transfer};
use crate::images::{Component, DEFAULT_REGISTRY, ImageReference, MirrorLayout};

/// `skopeo sync` puts the last component of each path below one destination.
pub(super) fn skopeo(plan: &Plan, plain_http: &[&str]) -> Result<String, FormatError> {
    let mut destination: Option<&str> = None;
    let mut sources: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
    for Transfer {
        component: _,
        from,
        to,
    } in &plan.transfers
    {
        let version = match (from.tag(), from.digest()) {
            (Some(_), Some(_)) => return Err(FormatError::DigestWithTag(from.to_string())),
            (tag, digest) => tag.or(digest).unwrap_or_default(),
        };
        let needed = parent(repository(to));
        match destination {
            Some(chosen) if chosen != needed => {
                return Err(FormatError::Destinations(
                    chosen.to_owned(),
                    needed.to_owned(),
                ));
            }
            _ => destination = Some(needed),
        }
        sources
            .entry(from.host())
            .or_default()
            .entry(from.path())
            .or_default()
            .push(version);
    }

    let destination = destination.unwrap_or_default();
    let mut options = "--all --preserve-digests --src yaml --dest docker".to_owned();
    if plain_http.contains(&plan.mirror_host()) {
        options.push_str(" --dest-tls-verify=false");
    }
    let mut text = heading(
        plan,
        &format!("skopeo sync {options} skopeo.yaml {destination}"),
    );
    if plan.mirror.layout == MirrorLayout::Repository {
        text.push_str(
            "# skopeo keeps only the last component of a path: the destination is the mirror with the\n\
             # organisation appended.\n",
        );
    }
    text.push_str(
        "# Without `--all` it would copy one platform of each image, and without `--preserve-digests` change some.\n",
    );
    for (host, repositories) in sources {
        push(&mut text, format_args!("\"{host}\":\n"));
        if plain_http.contains(&host) {
            text.push_str("  tls-verify: false\n");
        }
        text.push_str("  images:\n");
        for (path, versions) in repositories {
            push(&mut text, format_args!("    \"{path}\":\n"));
            for version in versions {
                push(&mut text, format_args!("      - \"{version}\"\n"));
            }
        }
    }
    Ok(text)
}

/// `regsync` copies any reference to any other, all platforms of it.
pub(super) fn regsync(plan: &Plan, plain_http: &[&str]) -> String {
    let mut text = heading(plan, "regsync once -c regsync.yaml");
    text.push_str("version: 1\n");
    if !plain_http.is_empty() {
        text.push_str("creds:\n");
        for host in plain_http {
            push(
                &mut text,
                format_args!("  - registry: \"{host}\"\n    tls: disabled\n"),
            );
        }
    }
    text.push_str("sync:\n");
    for transfer in &plan.transfers {
        let (from, to) = pinned(transfer);
        push(
            &mut text,
            format_args!("  - source: \"{from}\"\n    target: \"{to}\"\n    type: image\n"),
        );
    }
    text
}

/// `crane copy` copies any reference to any other, all platforms of it.
pub(super) fn crane(plan: &Plan, plain_http: &[&str]) -> String {
    let mut text = "#!/bin/sh\n".to_owned();
    text.push_str(&heading(plan, "sh crane.sh"));
    text.push_str("set -eu\n");
    let insecure = if plain_http.is_empty() {
        ""
    } else {
        " --insecure"
    };
    for transfer in &plan.transfers {
        let (from, to) = pinned(transfer);
        push(
            &mut text,
            format_args!("crane copy{insecure} {from} {to}\n"),
        );
    }
    text
}

/// `oc mirror` keeps the whole path below its destination, and normalizes nothing: `docker.io/` is
/// always written.
pub(super) fn oc_mirror(plan: &Plan, plain_http: &[&str]) -> Result<String, FormatError> {
    let prefix = &plan.mirror.prefix;
    let mut images = String::new();
    for Transfer {
        component: _,
        from,
        to,
    } in &plan.transfers
    {
        if repository(to) != format!("{prefix}/{}", from.path()) {
            return Err(FormatError::Path {
                tool: "oc mirror",
                from: from.to_string(),
                to: to.to_string(),
            });
        }
        push(&mut images, format_args!("    - name: \"{from}\"\n"));
    }
    let mut options = String::new();
    let mut sources = plan
        .transfers
        .iter()
        .map(|it| it.from.host());
    if sources.any(|host| plain_http.contains(&host)) {
        options.push_str(" --src-tls-verify=false");
    }
    if plain_http.contains(&plan.mirror_host()) {
        options.push_str(" --dest-tls-verify=false");
    }
    let command = format!(
        "oc mirror --v2 -c oc-mirror.yaml --workspace file://workspace{options} docker://{prefix}"
    );
    Ok(format!(
        "{}kind: ImageSetConfiguration\napiVersion: mirror.openshift.io/v2alpha1\nmirror:\n  additionalImages:\n{images}",
        heading(plan, &command)
    ))
}

/// containerd finds `hosts.toml` by the registry's host alone, and asks the mirror for the same
/// path.
pub(super) fn hosts(plan: &Plan, plain_http: &[&str]) -> Result<String, FormatError> {
    let prefix = plan.mirror.prefix.as_str();
    let mut host: Option<&str> = None;
    for Transfer {
        component: _,
        from,
        to,
    } in &plan.transfers
    {
        match host {
            Some(chosen) if chosen != from.host() => {
                return Err(FormatError::Hosts(
                    chosen.to_owned(),
                    from.host().to_owned(),
                ));
            }
            _ => host = Some(from.host()),
        }
        if repository(to) != format!("{prefix}/{}", from.path()) {
            return Err(FormatError::Path {
                tool: "containerd",
                from: from.to_string(),
                to: to.to_string(),
            });
        }
    }
    let host = host.unwrap_or(DEFAULT_REGISTRY);
    let scheme = if plain_http.contains(&plan.mirror_host()) {
        "http"
    } else {
        "https"
    };
    // With a path, the API version has to be written out, and containerd told not to add it.
    let (url, path) = match prefix.split_once('/') {
        Some((host, path)) => (
            format!("{scheme}://{host}/v2/{path}"),
            "  override_path = true\n",
        ),
        None => (format!("{scheme}://{prefix}"), ""),
    };
    Ok(format!(
        "# /etc/containerd/certs.d/{host}/hosts.toml on every node.\n\
         # It copies nothing. Pods keep the names of {host}, and containerd asks {prefix} for all of that registry;\n\
         # leave `AGENTKUBE_IMAGE_REGISTRY` unset, or set it to {prefix}: both find the same copies.\n\
         [host.\"{url}\"]\n  capabilities = [\"pull\", \"resolve\"]\n{path}"
    ))
}

impl Plan {
    /// The mirror's host with its port.
    fn mirror_host(&self) -> &str {
        let prefix = self.mirror.prefix.as_str();
        prefix
            .split('/')
            .next()
            .unwrap_or(prefix)
    }
}

/// The comment at the top of a file, for its readers.
fn heading(plan: &Plan, command: &str) -> String {
    let mut text = format!(
        "# Fills {}, where pods look with AGENTKUBE_IMAGE_REGISTRY={}",
        plan.mirror.prefix, plan.mirror.prefix
    );
    if plan.mirror.layout != MirrorLayout::default() {
        push(
            &mut text,
            format_args!(" and AGENTKUBE_MIRROR_LAYOUT={}", plan.mirror.layout),
        );
    }
    push(&mut text, format_args!(".\n# Run: {command}\n"));
    for present in &plan.present {
        push(
            &mut text,
            format_args!("# Not here: {present}, which is on the mirror already.\n"),
        );
    }
    for transfer in &plan.transfers {
        if transfer.component == Component::Custom {
            push(
                &mut text,
                format_args!(
                    "# Nothing rewrites {}: whoever names it has to name {}.\n",
                    transfer.from, transfer.to
                ),
            );
        }
    }
    for overridden in &plan.overridden {
        push(
            &mut text,
            format_args!(
                "# Not here: {}, which an override takes from {}.\n",
                overridden.component, overridden.image
            ),
        );
    }
    text
}

/// The two references for tools that disagree on a tag with a digest: the digest selects the source, the
/// tag names the copy, and pods find it by either.
fn pinned(transfer: &Transfer) -> (String, String) {
    let Transfer {
        component: _,
        from,
        to,
    } = transfer;
    match (from.tag(), from.digest()) {
        (Some(tag), Some(digest)) => (
            format!("{}@{digest}", from.repository()),
            format!("{}:{tag}", repository(to)),
        ),
        _ => (from.to_string(), to.to_string()),
    }
}

/// The reference without tag and digest, as it was written.
fn repository(reference: &ImageReference) -> &str {
    let mut text = reference.as_str();
    for (separator, part) in [('@', reference.digest()), (':', reference.tag())] {
        if let Some(part) = part {
            text = text
                .strip_suffix(part)
                .and_then(|text| text.strip_suffix(separator))
                .unwrap_or(text);
        }
    }
    text
}

fn parent(repository: &str) -> &str {
    repository
        .rsplit_once('/')
        .map_or(repository, |(parent, _)| parent)
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::{
        images::ImageSettings,
        mirroring::{Origin, PlanFormat},
    };

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// A plan for two rows, to keep the snapshots short, and for custom images.
    fn plan(prefix: &str, layout: &str, custom: &[&str]) -> Plan {
        let settings = ImageSettings::of(&[
            ("AGENTKUBE_IMAGE_REGISTRY", prefix),
            ("AGENTKUBE_MIRROR_LAYOUT", layout),
            ("AGENTKUBE_IMAGE_GOOSE", "ghcr.io/acme/goose:v9"),
        ]);
        let custom: Vec<_> = custom
            .iter()
            .map(|image| image.parse().unwrap())
            .collect();
        let mut plan = Plan::new(&settings, &custom, &Origin::default()).unwrap();
        plan.transfers.retain(|it| {
            matches!(
                it.component,
                Component::Codex | Component::Agentlet | Component::Custom
            )
        });
        plan
    }

    fn refusal(format: PlanFormat, plan: &Plan) -> String {
        format
            .write(plan, &[])
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn skopeo_gets_the_organisation_in_its_destination() {
        let plan = plan("registry.example.com/exo", "repository", &[]);
        assert_snapshot!(skopeo(&plan, &[]).unwrap());
    }

    #[test]
    fn skopeo_needs_no_organisation_where_paths_are_flat() {
        let custom = [
            "ghcr.io/acme/agent:1.0",
            &format!("quay.io/other/agent@{DIGEST}"),
        ];
        let plan = plan("localhost:5000", "name", &custom);
        assert_snapshot!(skopeo(&plan, &["localhost:5000", "quay.io"]).unwrap());
    }

    #[test]
    fn skopeo_cannot_serve_two_organisations_in_one_run() {
        let plan = plan(
            "registry.example.com/exo",
            "repository",
            &["ghcr.io/acme/agent:v1"],
        );
        assert_snapshot!(refusal(PlanFormat::Skopeo, &plan));
    }

    #[test]
    fn skopeo_would_skip_a_tag_with_a_digest() {
        let image = format!("adaptivelive/agent:v1@{DIGEST}");
        let plan = plan("registry.example.com/exo", "repository", &[&image]);
        assert_snapshot!(refusal(PlanFormat::Skopeo, &plan));
    }

    #[test]
    fn regsync_copies_anything_anywhere() {
        let custom = [
            "ghcr.io/acme/agent",
            &format!("quay.io/other/agent:v2@{DIGEST}"),
        ];
        let plan = plan("localhost:5000/exo", "repository", &custom);
        assert_snapshot!(regsync(&plan, &["localhost:5000"]));
    }

    #[test]
    fn crane_is_a_script() {
        let custom = [&*format!("quay.io/other/agent:v2@{DIGEST}")];
        let plan = plan("registry.example.com/exo", "name", &custom);
        assert_snapshot!(crane(&plan, &[]));
    }

    #[test]
    fn oc_mirror_writes_docker_io_out() {
        let plan = plan("registry.example.com/exo", "repository", &["nginx:1.29"]);
        assert_snapshot!(oc_mirror(&plan, &[]).unwrap());
    }

    #[test]
    fn oc_mirror_and_containerd_keep_paths() {
        let plan = plan("registry.example.com/exo", "name", &[]);
        assert_snapshot!(refusal(PlanFormat::OcMirror, &plan));
        assert_snapshot!(refusal(PlanFormat::Hosts, &plan));
    }

    #[test]
    fn containerd_is_told_the_path_of_the_mirror() {
        let below = plan("registry.example.com/exo/mirror", "repository", &[]);
        assert_snapshot!(hosts(&below, &[]).unwrap());
        let bare = plan("localhost:5000", "repository", &[]);
        let text = hosts(&bare, &["localhost:5000"]).unwrap();
        assert!(
            text.contains("[host.\"http://localhost:5000\"]\n"),
            "{text}"
        );
        assert!(!text.contains("override_path"), "{text}");
        let two = plan(
            "registry.example.com",
            "repository",
            &["ghcr.io/acme/agent:v1"],
        );
        assert_snapshot!(refusal(PlanFormat::Hosts, &two));
    }

    #[test]
    fn nothing_to_copy_is_an_error() {
        let mut empty = plan("registry.example.com", "repository", &[]);
        empty.transfers.clear();
        assert_snapshot!(refusal(PlanFormat::Crane, &empty), @"no image would come from the mirror, because every one has an override");
    }
}
