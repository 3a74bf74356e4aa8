use agentkube_playground::{Manager, monitoring_crds, until};

use crate::{
    ground::{Ground, LIMIT},
    needed,
};

const ORDINARY: &str = "{apiVersion: v1, kind: Pod, metadata: {name: ordinary}, spec: {containers: [{name: c, image: 'nginx:1.27'}]}}";
const PLACEHOLDER: &str = "{apiVersion: v1, kind: Pod, metadata: {name: waiting}, spec: {containers: [{name: c, image: agentkube.invalid/codex}]}}";
const AGENT: &str = "{apiVersion: agentkube.io/v1alpha1, kind: Agent, metadata: {name: bot}, spec: {runtime: Codex, paused: false}}";

const CREATE: &str = "kubectl create --filename -";
const TRY: &str = "kubectl create --dry-run=server --filename -";

/// Installs with kubectl, and starts a manager.
async fn installed() -> Option<(Ground, Manager)> {
    let ground = Ground::start(&[], "").await?;
    ground.follow("Install", 0).await;
    let manager = ground.manager(&[]).await;
    ground.until_admitting().await;
    Some((ground, manager))
}

/// Demands that Agents wait for a manager, and ordinary pods do not.
async fn expect_stuck(ground: &Ground) {
    let stuck = ground.run_with(TRY, AGENT).await;
    assert!(
        stuck
            .stderr
            .contains("failed calling webhook"),
        "{stuck:?}"
    );
    let ordinary = ground.run_with(TRY, ORDINARY).await;
    assert!(ordinary.success, "{ordinary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_kubectl_it_is_installed_upgraded_rolled_back_and_removed() {
    let Some((ground, mut manager)) = installed().await else {
        return;
    };
    let bundles = ground.until_bundled().await;

    ground.follow("Upgrade", 0).await;
    assert_eq!(ground.bundles().await, bundles);
    ground.until_admitting().await;

    let deployment = "deployment/agentkube-manager --namespace agentkube-system";
    ground
        .expect(&format!(
            "kubectl set env {deployment} AGENTKUBE_ENFORCEMENT=warn"
        ))
        .await;
    ground.follow("Rollback", 0).await;
    let settings = ground
        .expect(&format!("kubectl set env {deployment} --list"))
        .await;
    assert!(!settings.contains("ENFORCEMENT"), "{settings}");

    let created = ground.run_with(CREATE, AGENT).await;
    assert!(created.success, "{created:?}");
    ground
        .until_succeeds("kubectl get pod bot", "")
        .await;
    // Until the garbage collector knows of Agents: one of a cluster that is minutes old does.
    let early = ground
        .run_with(CREATE, &AGENT.replace("name: bot", "name: early"))
        .await;
    assert!(early.success, "{early:?}");
    ground
        .until_succeeds("kubectl get pod early", "")
        .await;
    ground
        .expect("kubectl delete agent early")
        .await;
    ground
        .until_succeeds("! kubectl get pod early", "")
        .await;
    // As on a bad day: nobody answers while it is removed.
    manager.kill();
    expect_stuck(&ground).await;
    ground.follow("Uninstall", 0).await;

    let left = ground
        .expect("kubectl get crd,clusterrole,clusterrolebinding,namespace,priorityclass,mutatingwebhookconfiguration,validatingwebhookconfiguration,validatingadmissionpolicy,validatingadmissionpolicybinding --output name")
        .await;
    assert!(!left.contains("agentkube"), "{left}");
    ground
        .until_succeeds("! kubectl get pod bot", "")
        .await;
    let free = ground
        .run_with(CREATE, PLACEHOLDER)
        .await;
    assert!(free.success, "{free:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_a_way_out_when_nothing_answers_or_the_namespace_is_gone() {
    let Some((ground, mut manager)) = installed().await else {
        return;
    };
    manager.kill();
    expect_stuck(&ground).await;
    let shown = ground
        .follow("Nothing answers", 0)
        .await;
    assert!(shown.contains("agentkube-manager-"), "{shown}");
    ground
        .follow("Nothing answers", 1)
        .await;
    ground
        .until_succeeds(CREATE, AGENT)
        .await;
    ground
        .until_succeeds(CREATE, PLACEHOLDER)
        .await;
    ground
        .follow("Nothing answers", 2)
        .await;
    manager = ground.manager(&[]).await;
    ground.until_admitting().await;
    // What entered meanwhile is served.
    ground
        .until_succeeds("kubectl get pod bot", "")
        .await;

    ground
        .expect("kubectl delete namespace agentkube-system --wait=false")
        .await;
    manager.kill();
    expect_stuck(&ground).await;
    ground
        .follow("The namespace was deleted", 0)
        .await;
    let _manager = ground.manager(&[]).await;
    ground.until_admitting().await;
    ground
        .expect("kubectl get agent bot")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_a_way_out_when_a_secret_an_authority_or_a_crd_is_gone() {
    let Some((ground, _manager)) = installed().await else {
        return;
    };
    let bundles = ground.until_bundled().await;
    ground
        .follow("Made by the manager", 0)
        .await;
    ground
        .until_succeeds(
            "kubectl get secret agentkube-webhook-tls --namespace agentkube-system",
            "",
        )
        .await;
    let renewed = until("another authority", LIMIT, async || {
        let found = ground.bundles().await;
        let renewed = found
            .iter()
            .all(|bundle| !bundles.contains(bundle));
        Ok(renewed.then_some(()))
    });
    renewed
        .await
        .expect("another authority");
    ground.until_admitting().await;

    let wipe = "kubectl patch mutatingwebhookconfiguration agentkube-manager --type=json \
                --patch '[{\"op\": \"remove\", \"path\": \"/webhooks/0/clientConfig/caBundle\"}]'";
    ground.expect(wipe).await;
    ground.until_bundled().await;
    let shown = ground
        .follow("`caBundle` was wiped", 0)
        .await;
    assert_eq!(shown.split(' ').count(), 3, "{shown}");
    ground.until_admitting().await;

    let created = ground.run_with(CREATE, AGENT).await;
    assert!(created.success, "{created:?}");
    ground
        .until_succeeds("kubectl get pod bot", "")
        .await;
    ground
        .expect("kubectl delete crd agents.agentkube.io")
        .await;
    ground
        .follow("A CRD was removed", 0)
        .await;
    ground.until_admitting().await;
    ground
        .until_succeeds(CREATE, AGENT)
        .await;
    // The pod of the one that is gone goes, and the other gets its own.
    ground
        .until_succeeds(
            "test \"$(kubectl get pod bot --output jsonpath='{.metadata.ownerReferences[0].uid}')\" = \
             \"$(kubectl get agent bot --output jsonpath='{.metadata.uid}')\"",
            "",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_site_adds_is_taken_by_the_api_server() {
    let Some(definitions) = needed(monitoring_crds().await) else {
        return;
    };
    let Some(ground) = Ground::start(&["ha", "monitoring"], "").await else {
        return;
    };
    let applied = ground
        .run_with("kubectl apply --server-side --filename -", &definitions)
        .await;
    assert!(applied.success, "{applied:?}");
    ground
        .expect("kubectl wait --for=condition=established --timeout=1m crd/podmonitors.monitoring.coreos.com crd/prometheusrules.monitoring.coreos.com")
        .await;
    ground.follow("Install", 0).await;
    let replicas = ground
        .expect("kubectl get deployment agentkube-manager --namespace agentkube-system --output jsonpath='{.spec.replicas} {.status.readyReplicas}'")
        .await;
    assert_eq!(replicas, "3 3");
    ground
        .expect(
            "kubectl get podmonitor,prometheusrule --namespace agentkube-system agentkube-manager",
        )
        .await;
}
