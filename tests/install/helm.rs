use std::fs;

use agentkube_playground::ControlPlaneOptions;
use serde_json::{Value, json};

use crate::{document, ground::Ground, list};

/// Deletions in the order in which the API server was asked for them.
const POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "verbs": ["delete"]}, {"level": "None"}]}"#;

const COLUMNS: &str = "kubectl get crd agents.agentkube.io --output jsonpath='{.spec.versions[0].additionalPrinterColumns[*].name}'";

#[tokio::test(flavor = "multi_thread")]
async fn with_helm_it_is_installed_upgraded_rolled_back_and_removed() {
    let log = tempfile::tempdir().expect("a folder");
    let policy = log.path().join("policy.yaml");
    let events = log.path().join("audit.log");
    fs::write(&policy, POLICY).expect("the policy is written");
    let options = ControlPlaneOptions {
        extra_apiserver_args: vec![
            format!("--audit-policy-file={}", policy.display()),
            format!("--audit-log-path={}", events.display()),
            "--audit-log-mode=blocking".to_owned(),
        ],
        ..ControlPlaneOptions::default()
    };
    let Some(ground) = Ground::start_with(options, &[], "").await else {
        return;
    };

    // An older chart, whose CRD lacks a column.
    ground
        .expect("cp --recursive --dereference manifests/chart older && mv manifests/chart newer && mv older manifests/chart")
        .await;
    let file = "manifests/chart/files/crds/agents.agentkube.io.yaml";
    let crd = fs::read_to_string(ground.path(file)).expect("the CRD");
    let older = crd.replacen("name: Runtime", "name: Kind", 1);
    assert_ne!(crd, older);
    ground.write(file, &older);
    ground.follow("Install", 1).await;
    let columns = ground.expect(COLUMNS).await;
    assert!(columns.contains("Kind"), "{columns}");
    ground
        .expect("kubectl rollout status deployment/agentkube-manager --namespace agentkube-system --timeout=2m")
        .await;
    // It is ready once it has put its authority into the registrations.
    let _manager = ground.manager(&[]).await;
    let bundles = ground.until_bundled().await;

    ground
        .expect("mv manifests/chart older && mv newer manifests/chart")
        .await;
    ground.follow("Upgrade", 1).await;
    let columns = ground.expect(COLUMNS).await;
    assert!(
        columns.contains("Runtime"),
        "the CRD is upgraded: {columns}"
    );
    assert_eq!(ground.bundles().await, bundles);
    ground.follow("Rollback", 1).await;
    let columns = ground.expect(COLUMNS).await;
    assert!(
        columns.contains("Kind"),
        "the CRD is rolled back: {columns}"
    );
    assert_eq!(ground.bundles().await, bundles);

    // No manager is behind the Service here: what waits for it is stuck.
    let stuck = ground.try_agent("quay.io/a:v1").await;
    assert!(
        stuck
            .stderr
            .contains("failed calling webhook"),
        "{stuck:?}"
    );
    let uninstall = document::commands("Uninstall", 1);
    ground.expect(&uninstall[0]).await;
    expect_registrations_first(&fs::read_to_string(&events).expect("the audit log"));
    let free = ground.try_agent("quay.io/a:v1").await;
    assert!(
        free.success,
        "the CRDs are kept, and nobody waits: {free:?}"
    );
    ground.expect(&uninstall[1]).await;
    let left = ground
        .expect("kubectl get crd,clusterrole,clusterrolebinding,mutatingwebhookconfiguration,validatingwebhookconfiguration --output name")
        .await;
    assert!(!left.contains("agentkube"), "{left}");
}

fn expect_registrations_first(log: &str) {
    let deleted: Vec<_> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("an event"))
        .filter(|event| {
            event["userAgent"]
                .as_str()
                .is_some_and(|agent| agent.to_lowercase().contains("helm"))
        })
        .map(|event| event["objectRef"]["resource"].clone())
        .filter(|resource| resource != "secrets")
        .collect();
    let first = [
        json!("validatingwebhookconfigurations"),
        json!("mutatingwebhookconfigurations"),
    ];
    assert!(deleted.len() > 5, "{deleted:?}");
    assert_eq!(list(&json!(deleted))[..2], first, "{deleted:?}");
}
