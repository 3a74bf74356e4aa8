use std::{collections::BTreeMap, fs, path::Path, process::Output};

use agentkube::{
    admission::{SETTINGS, SettingValue},
    images::MATRIX,
};
use agentkube_playground::{Manifest, locate_helm, parse_manifests};
use serde_json::{Value, json};

use crate::{
    kustomize::{base, with},
    needed, path, settings,
};

const RELEASE: [&str; 3] = ["agentkube", "--namespace", "agentkube-system"];

async fn helm(arguments: &[&str]) -> Option<Output> {
    let helm = needed(locate_helm().await)?;
    let home = tempfile::tempdir().expect("a directory");
    let output = std::process::Command::new(helm)
        .args(arguments)
        .current_dir(path("manifests"))
        .env_clear()
        .env("HOME", home.path())
        .output();
    Some(output.expect("helm runs"))
}

/// Renders the chart with values in YAML.
async fn template(values: &str) -> Option<Result<Vec<Manifest>, String>> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("values.yaml");
    fs::write(&file, values).expect("the values are written");
    let file = file.to_str().expect("text");
    let arguments = [&["template"], &RELEASE[..], &["chart", "--values", file]].concat();
    let output = helm(&arguments).await?;
    if !output.status.success() {
        // It also names each file of the chart that is a link.
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let error = said
            .find("Error: ")
            .map(|at| said[at..].to_owned());
        return Some(Err(error.unwrap_or(said)));
    }
    let rendered = String::from_utf8(output.stdout).expect("text");
    Some(Ok(
        parse_manifests(Path::new("chart.yaml"), &rendered).expect("manifests")
    ))
}

/// Objects by kind and name, without what only one of the two ways says.
fn comparable(manifests: &[Manifest]) -> BTreeMap<String, Value> {
    manifests
        .iter()
        // Helm keeps what it knows of a release in the namespace, so that it is there before.
        .filter(|manifest| manifest.kind != "Namespace")
        .filter(|manifest| !is_of_the_site(&manifest.name))
        .map(|manifest| {
            let mut object = manifest.object.clone();
            let metadata = object["metadata"]
                .as_object_mut()
                .expect("metadata");
            if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
                annotations.remove("helm.sh/resource-policy");
                if annotations.is_empty() {
                    metadata.remove("annotations");
                }
            }
            (format!("{} {}", manifest.kind, manifest.name), object)
        })
        .collect()
}

/// Whether a ConfigMap is what a kustomization brings along for its components; their names end in a hash.
fn is_of_the_site(name: &str) -> bool {
    ["agentkube-client-ca-", "agentkube-mirror-"]
        .iter()
        .any(|start| name.starts_with(start))
}

fn expect_same(chart: &[Manifest], kustomize: &[Manifest]) {
    let (chart, kustomize) = (comparable(chart), comparable(kustomize));
    let names = |objects: &BTreeMap<String, Value>| {
        objects
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&chart), names(&kustomize));
    for (name, object) in &chart {
        assert_eq!(object, &kustomize[name], "{name}");
    }
}

#[tokio::test]
async fn by_default_it_renders_the_kustomize_base() {
    let (Some(chart), Some(base)) = (template("").await, base().await) else {
        return;
    };
    expect_same(&chart.expect("it renders"), &base);
}

#[tokio::test]
async fn its_values_render_what_the_components_do() {
    for (component, values) in [
        ("air-gapped", "registry: registry.example.com/mirror"),
        (
            "pull-secret",
            "{registry: registry.example.com/mirror, pullSecrets: [mirror]}",
        ),
        ("cert-manager", "certificates: {source: cert-manager}"),
        (
            "ha",
            "{replicas: 3, spread: required, priorityClass: {create: true}}",
        ),
        ("metrics-authorization", "metricsAuthorization: true"),
        ("monitoring", "monitoring: {enabled: true}"),
        ("unasked-references", "authorizeReferences: false"),
    ] {
        let (Some(chart), Some(kustomize)) = (template(values).await, with(component).await) else {
            return;
        };
        expect_same(&chart.expect("it renders"), &kustomize);
    }
}

#[tokio::test]
async fn client_authentication_is_the_components() {
    let values = "clientCA: {configMap: mine}";
    let (Some(chart), Some(mut kustomize)) = (template(values).await, with("client-auth").await)
    else {
        return;
    };
    for manifest in &mut kustomize {
        if manifest.kind == "Deployment" {
            let name = "/spec/template/spec/volumes/0/configMap/name";
            let name = manifest
                .object
                .pointer_mut(name)
                .expect("a volume");
            assert!(
                name.as_str()
                    .is_some_and(is_of_the_site)
            );
            *name = json!("mine");
        }
    }
    expect_same(&chart.expect("it renders"), &kustomize);
}

#[tokio::test]
async fn an_own_secret_comes_with_its_authority() {
    let values = "certificates:\n  source: secret\n  secretName: mine\n  ca: |\n    -----BEGIN CERTIFICATE-----\n    MIIB\n    -----END CERTIFICATE-----\n";
    let Some(chart) = template(values).await else {
        return;
    };
    let chart = chart.expect("it renders");
    let volume = &crate::pod(&chart)["volumes"][0];
    assert_eq!(volume["secret"]["secretName"], "mine");
    for kind in [
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
    ] {
        for webhook in crate::list(&crate::find(&chart, kind)["webhooks"]) {
            let bundle = &webhook["clientConfig"]["caBundle"];
            // `-----BEGIN`, as base64.
            assert!(
                bundle
                    .as_str()
                    .is_some_and(|it| it.starts_with("LS0tLS1CRUdJTi"))
            );
        }
    }
}

#[tokio::test]
async fn every_setting_has_its_value() {
    let rows = MATRIX.iter().filter_map(|row| {
        let variable = row.variable?;
        Some((row.component.to_string(), variable))
    });
    let rows: Vec<_> = rows.collect();
    let overrides: Vec<_> = rows
        .iter()
        .map(|(component, _)| {
            format!(
                "  {component}: registry.example.com/{}:v1\n",
                component.to_lowercase()
            )
        })
        .collect();
    let settings_of_the_chart: Vec<_> = SETTINGS
        .iter()
        .map(|setting| match setting.value {
            SettingValue::List => format!("{}: [{}]\n", setting.helm, setting.example),
            _ => format!("{}: {}\n", setting.helm, setting.example),
        })
        .collect();
    let values = format!(
        "{}overrides:\n{}",
        settings_of_the_chart.concat(),
        overrides.concat()
    );
    let Some(chart) = template(&values).await else {
        return;
    };
    let mut found: Vec<_> = settings(&chart.expect("it renders"));
    found.sort();
    let mut expected: Vec<(String, String)> = SETTINGS
        .iter()
        .map(|setting| (setting.name.to_owned(), setting.example.to_owned()))
        .collect();
    expected.extend(
        rows.iter()
            .map(|(component, variable)| {
                let image = format!("registry.example.com/{}:v1", component.to_lowercase());
                ((*variable).to_owned(), image)
            }),
    );
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_managers_image_follows_the_same_order_as_others() {
    for (values, image) in [
        ("", "docker.io/adaptivelive/agentkube-manager:v0.3.0"),
        (
            "registry: localhost:5000/",
            "localhost:5000/adaptivelive/agentkube-manager:v0.3.0",
        ),
        (
            "{registry: localhost:5000, layout: name}",
            "localhost:5000/agentkube-manager:v0.3.0",
        ),
        (
            "{registry: localhost:5000, overrides: {Manager: quay.io/m:v1}}",
            "quay.io/m:v1",
        ),
        (
            "{image: quay.io/m:v2, overrides: {Manager: quay.io/m:v1}}",
            "quay.io/m:v2",
        ),
    ] {
        let Some(chart) = template(values).await else {
            return;
        };
        let chart = chart.expect("it renders");
        assert_eq!(
            crate::pod(&chart)["containers"][0]["image"],
            image,
            "{values}"
        );
    }
}

#[tokio::test]
async fn what_is_wrong_with_values_is_said() {
    let mut said = String::new();
    for values in [
        "replicaCount: 3",
        "replicas: two",
        "enforcement: maybe",
        "overrides: {Codx: quay.io/team/codex:v1}",
        "registry: https://registry.example.com/mirror",
        "certificates: {source: secret}",
        "certificates: {secretName: mine}",
        "priorityClass: {name: mine, create: true}",
    ] {
        let Some(chart) = template(values).await else {
            return;
        };
        let error = chart.expect_err(values);
        let error = error
            .replace("\nUse --debug flag to render out invalid YAML", "")
            .replace("Error: values don't meet the specifications of the schema(s) in the following chart(s):\nagentkube:\n", "");
        said.extend([values, "\n  ", error.trim(), "\n"]);
    }
    insta::assert_snapshot!("wrong_values", said);
}

#[tokio::test]
async fn another_namespace_is_refused_with_the_way_out() {
    let Some(output) = helm(&["template", "agentkube", "chart"]).await else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        said.contains("(hint: add `--namespace agentkube-system --create-namespace`)"),
        "{said}"
    );
}

#[tokio::test]
async fn lint_finds_nothing() {
    let arguments = [
        "lint",
        "chart",
        "--strict",
        "--namespace",
        "agentkube-system",
    ];
    let Some(output) = helm(&arguments).await else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(
        !said.contains("[WARNING]") && !said.contains("[ERROR]"),
        "{said}"
    );
}

#[test]
fn it_is_the_version_of_the_program() {
    let chart = fs::read_to_string(path("manifests/chart/Chart.yaml")).expect("the chart");
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        chart.contains(&format!("\nversion: {version}\n")),
        "{chart}"
    );
    assert!(
        chart.contains(&format!("\nappVersion: v{version}\n")),
        "{chart}"
    );
}
