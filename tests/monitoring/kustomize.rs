use std::{fs, path::Path};

use agentkube_playground::{Binaries, kustomize};
use serde_json::Value;

use crate::{list, needed, read, rules::alerts, text};

/// Renders an overlay with the base and the component, as the documentation shows it.
async fn overlay() -> Option<Vec<Value>> {
    let binaries = Binaries::locate()
        .await
        .map_err(|error| format!("{error:#}"));
    let kubectl = needed(binaries)?.kubectl;
    let directory = tempfile::tempdir().expect("a directory");
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    std::os::unix::fs::symlink(manifests, directory.path().join("manifests")).expect("a link");
    let site = directory.path().join("site");
    fs::create_dir(&site).expect("a folder");
    let documentation = read("docs/monitoring.md");
    let kustomization = documentation
        .split("```yaml\n")
        .skip(1)
        .filter_map(|block| block.split("```").next())
        .take(2)
        .collect::<String>();
    fs::write(site.join("kustomization.yaml"), kustomization).expect("the overlay is written");

    let rendered = kustomize(&kubectl, &site)
        .await
        .expect("the overlay is rendered");
    let objects = rendered
        .split("\n---\n")
        .map(|object| serde_saphyr::from_str(object).expect("an object is YAML"));
    Some(objects.collect())
}

fn find<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    let mut found = objects
        .iter()
        .filter(|object| object["kind"] == kind);
    let first = found
        .next()
        .unwrap_or_else(|| panic!("there is no {kind}"));
    assert!(found.next().is_none(), "there is more than one {kind}");
    first
}

#[tokio::test]
async fn an_overlay_takes_the_component() {
    let Some(objects) = overlay().await else {
        return;
    };
    let rules = find(&objects, "PrometheusRule");
    let rendered: Vec<_> = list(&rules["spec"]["groups"])
        .iter()
        .flat_map(|group| list(&group["rules"]))
        .cloned()
        .collect();
    assert_eq!(rendered, alerts());

    let dashboard = find(&objects, "ConfigMap");
    assert_eq!(dashboard["metadata"]["labels"]["grafana_dashboard"], "1");
    assert_eq!(
        text(&dashboard["data"]["agentkube.json"]),
        read("manifests/components/monitoring/dashboard.json")
    );

    let monitor = find(&objects, "PodMonitor");
    let template = &find(&objects, "Deployment")["spec"]["template"];
    assert_eq!(
        monitor["spec"]["selector"]["matchLabels"], template["metadata"]["labels"],
        "the PodMonitor finds the pods"
    );
    let port = &monitor["spec"]["podMetricsEndpoints"][0]["port"];
    assert!(
        list(&template["spec"]["containers"][0]["ports"])
            .iter()
            .any(|found| found["name"] == *port && found["containerPort"] == 8080),
        "the pods have the port {port}"
    );
    for object in [rules, dashboard, monitor] {
        assert_eq!(object["metadata"]["namespace"], "agentkube-system");
    }
    for object in [rules, monitor] {
        let label = &object["metadata"]["labels"]["release"];
        assert_eq!(label, "kube-prometheus-stack");
    }
}
