//! Orderings by which an Agent once lent what nobody had permitted, each with the delay forced.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use agentkube_playground::{Manager, Proxy, until};
use anyhow::{Context, ensure};
use kube::api::{DeleteParams, Patch, PatchParams, PropagationPolicy};
use serde_json::{Value, json};

use crate::{
    cluster::{
        Cluster, LIMIT, Namespace, agent, expect_forbidden, expect_refusal, images, pod, pod_of,
        tool,
    },
    faults::{deregister, register, wait_unregistered},
    harness::{Test, tests},
    users::{User, writes_agents},
};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = tests![Manager:
        an_agent_that_is_being_deleted_is_judged_and_fills_nothing,
        an_agent_that_changes_all_the_time_gets_its_pod,
        an_owner_of_another_uid_kind_or_namespace_fills_nothing,
    ];
    tests.extend(tests![ControlPlane:
        an_agents_pod_is_made_from_one_state,
        a_tools_pod_is_made_from_one_state,
        an_agent_that_is_created_anew_gets_a_pod_of_its_own,
        a_pod_stays_an_agents_whatever_is_taken_off_it,
        nobodys_pod_becomes_an_agents_by_way_of_its_status,
        a_probe_asks_no_other_host_even_while_the_registrations_are_away,
    ]);
    tests
}

const STRONG: &str = "strong";
const EVIL: &str = "registry.example.com/evil:v1";
const HOLD: &str = "example.com/hold";

fn asking(image: &str) -> Value {
    json!({"containers": [{"name": "agent", "image": image}]})
}

fn secret(name: &str) -> Value {
    json!({"secretRef": {"name": name, "key": "key"}})
}

/// A manager whose creations of pods can be held back.
async fn held_back(cluster: &Cluster) -> anyhow::Result<(Proxy, Manager)> {
    let proxy = Proxy::start(&cluster.control_plane).await?;
    let kubeconfig = proxy
        .kubeconfig(&cluster.control_plane, "proxied")
        .await?;
    let manager = cluster
        .start_manager(&[("KUBECONFIG", &kubeconfig)])
        .await?;
    Ok((proxy, manager))
}

/// Waits until the manager has looked at the object as it is now.
async fn until_seen(ns: &Namespace, kind: &str, name: &str) -> anyhow::Result<()> {
    ns.wait(kind, name, "to be looked at", |object| {
        object["status"]["observedGeneration"] == object["metadata"]["generation"]
    })
    .await?;
    Ok(())
}

async fn an_agent_that_is_being_deleted_is_judged_and_fills_nothing(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("going").await?;
    let mut rule = writes_agents();
    rule["verbs"] = json!(["create", "get", "patch", "update", "delete"]);
    let author = User::new(cluster, &ns, "author", &[rule]).await?;
    let mut bot = agent("bot", &json!({"runtime": "Codex"}));
    bot["metadata"]["finalizers"] = json!([HOLD]);
    author.sees.create(&bot).await?;
    author
        .sees
        .delete("Agent", "bot")
        .await?;
    let bot = ns
        .get("Agent", "bot")
        .await?
        .context("the Agent")?;
    ensure!(bot["metadata"]["deletionTimestamp"].is_string(), "{bot:#}");

    for (field, value) in [
        ("agentToken", secret("victim")),
        ("serviceAccountName", json!(STRONG)),
        ("imagePullSecrets", json!([{"name": "victim"}])),
    ] {
        let patch = json!({"spec": {field: value}});
        let refused = author
            .sees
            .patch("Agent", "bot", &patch)
            .await;
        let Err(kube::Error::Api(status)) = refused else {
            anyhow::bail!("{field} of an Agent that is being deleted: {refused:?}");
        };
        ensure!(
            status.code == 403 && status.message.contains(field),
            "{status:?}"
        );
    }
    // Nothing is filled from it, by whatever pod.
    let status = ns
        .refused(&pod(
            "labelled",
            &json!({"agentkube.io/agent": "bot"}),
            &asking("agentkube.invalid/agent"),
        ))
        .await?;
    expect_refusal(&status, "UnresolvedPlaceholder", "spec.containers[0].image")?;
    let status = ns
        .refused(&pod_of(
            &bot,
            "controlled",
            &asking("agentkube.invalid/agent"),
        ))
        .await?;
    ensure!(
        status.code == 409
            && status.reason == "Conflict"
            && status
                .message
                .contains("is being deleted"),
        "{status:?}"
    );
    // What steers nothing is free, and so it goes.
    let patch = json!({"metadata": {"finalizers": null, "labels": {"team": "a"}}});
    author
        .sees
        .patch("Agent", "bot", &patch)
        .await?;
    ns.wait_gone("Agent", "bot").await
}

/// An Agent changes between the reconciler's look at it and admission's: its pod has everything
/// from before, or everything from after.
async fn an_agents_pod_is_made_from_one_state(cluster: &Cluster) -> anyhow::Result<()> {
    let (proxy, _manager) = held_back(cluster).await?;
    let ns = cluster
        .namespace("two-generations")
        .await?;
    ns.create(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": STRONG}}))
        .await?;
    let spec = json!({
        "runtime": "Codex", "serviceAccountName": STRONG,
        "goal": {"inline": "before"}, "agentToken": secret("before"),
    });
    ns.create(&agent("bot", &spec)).await?;
    until_seen(&ns, "Agent", "bot").await?;

    proxy.hold_pods();
    ns.patch("Agent", "bot", &json!({"spec": {"paused": false}}))
        .await?;
    proxy.until_a_pod_is_held().await?;
    // Anybody's who may write Agents: no reference is left.
    let author = User::new(cluster, &ns, "author", &[writes_agents()]).await?;
    let patch = json!({"spec": {
        "image": EVIL, "serviceAccountName": null, "agentToken": null, "goal": {"inline": "after"},
    }});
    author
        .sees
        .patch("Agent", "bot", &patch)
        .await?;
    // The index of the manager has the new state once it fills a pod from it.
    until_filled(&ns, "bot").await?;
    proxy.release_pods();

    let pod = ns
        .wait("Pod", "bot", "to be created", |_| true)
        .await?;
    ensure!(
        pod["spec"]["serviceAccountName"] == "default",
        "the account of one state and the image of another: {pod:#}"
    );
    ensure!(images(&pod)[0].1 == EVIL, "{pod:#}");
    let text = pod["spec"].to_string();
    ensure!(
        text.contains("after") && !text.contains("before"),
        "parts of two states: {pod:#}"
    );
    let live = ns
        .get("Agent", "bot")
        .await?
        .context("the Agent")?;
    ensure!(
        pod["metadata"]["annotations"]["agentkube.io/agent-generation"].as_str()
            == Some(&*live["metadata"]["generation"].to_string()),
        "{pod:#}"
    );
    Ok(())
}

/// Waits until admission fills a pod from the Agent as it is now.
async fn until_filled(ns: &Namespace, name: &str) -> anyhow::Result<()> {
    let live = ns
        .get("Agent", name)
        .await?
        .context("the Agent")?;
    let probe = pod_of(&live, "probe", &asking("agentkube.invalid/agent"));
    ns.create(&probe).await?;
    ns.delete("Pod", "probe").await
}

async fn a_tools_pod_is_made_from_one_state(cluster: &Cluster) -> anyhow::Result<()> {
    let (proxy, _manager) = held_back(cluster).await?;
    let ns = cluster.namespace("two-states").await?;
    let spec = json!({
        "type": "custom", "image": "registry.example.com/good:v1",
        "config": {"credentialsRef": {"name": "victim", "key": "key"}},
    });
    ns.create(&tool("browser", &spec))
        .await?;
    ns.create(&agent(
        "bot",
        &json!({"runtime": "Codex", "tools": [{"name": "browser"}]}),
    ))
    .await?;
    until_seen(&ns, "Tool", "browser").await?;
    proxy.hold_pods();
    ns.patch("Agent", "bot", &json!({"spec": {"paused": false}}))
        .await?;
    proxy.until_a_pod_is_held().await?;
    let author = User::new(cluster, &ns, "author", &[writes_agents()]).await?;
    author
        .sees
        .patch(
            "Tool",
            "browser",
            &json!({"spec": {"image": EVIL, "config": null}}),
        )
        .await?;
    proxy.release_pods();
    let pod = ns
        .wait("Pod", "tool-browser", "to be created", |_| true)
        .await?;
    let is_whole = images(&pod)[0].1 == EVIL
        && !pod["spec"]
            .to_string()
            .contains("victim")
        || images(&pod)[0].1 != EVIL;
    ensure!(is_whole, "parts of two states: {pod:#}");
    Ok(())
}

async fn an_agent_that_is_created_anew_gets_a_pod_of_its_own(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let (proxy, _manager) = held_back(cluster).await?;
    let ns = cluster.namespace("anew").await?;
    let spec = json!({"runtime": "Codex", "paused": false, "agentToken": secret("first")});
    proxy.hold_pods();
    ns.create(&agent("bot", &spec)).await?;
    proxy.until_a_pod_is_held().await?;
    ns.delete("Agent", "bot").await?;
    let again = ns
        .create(&agent(
            "bot",
            &json!({"runtime": "Goose", "paused": false, "image": EVIL}),
        ))
        .await?;
    proxy.release_pods();
    let uid = &again["metadata"]["uid"];
    let pod = ns
        .wait("Pod", "bot", "to be the new Agent's", |pod| {
            pod["metadata"]["ownerReferences"][0]["uid"] == *uid
        })
        .await?;
    ensure!(
        !pod["spec"]
            .to_string()
            .contains("first"),
        "the token of one Agent and the image of another: {pod:#}"
    );
    Ok(())
}

async fn an_agent_that_changes_all_the_time_gets_its_pod(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster.namespace("restless").await?;
    ns.create(&agent("bot", &json!({"runtime": "Codex"})))
        .await?;
    let is_over = Arc::new(AtomicBool::new(false));
    let changes = async {
        let mut count = 0_u64;
        while !is_over.load(Ordering::Relaxed) {
            count += 1;
            let goal = json!({"spec": {"goal": {"inline": count.to_string()}, "paused": false}});
            ns.patch("Agent", "bot", &goal).await?;
        }
        anyhow::Ok(count)
    };
    let created = async {
        let pod = ns
            .wait("Pod", "bot", "to be created", |_| true)
            .await;
        is_over.store(true, Ordering::Relaxed);
        pod
    };
    let (count, pod) = tokio::join!(changes, created);
    let (count, pod) = (count?, pod?);
    ensure!(count > 1, "it changed {count} times");
    let generation = pod["metadata"]["annotations"]["agentkube.io/agent-generation"]
        .as_str()
        .and_then(|generation| generation.parse::<u64>().ok())
        .context("a generation")?;
    // The goal of generation n + 1 is n: each change is one generation.
    let goal = format!("\"{}\"", generation - 1);
    ensure!(pod["spec"].to_string().contains(&goal), "{pod:#}");
    Ok(())
}

async fn an_owner_of_another_uid_kind_or_namespace_fills_nothing(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("owners").await?;
    let elsewhere = cluster.namespace("elsewhere").await?;
    let bot = ns
        .create(&agent("bot", &json!({"runtime": "Codex"})))
        .await?;
    let spec = asking("agentkube.invalid/agent");
    let with = |member: &str, value: Value| {
        let mut pod = pod_of(&bot, "p", &spec);
        pod["metadata"]["ownerReferences"][0][member] = value;
        pod
    };
    // As a backup restores it, whose Agent has a new UID.
    let status = ns
        .refused(&with("uid", json!("0c6d37c2-0000-4000-8000-000000000001")))
        .await?;
    ensure!(status.code == 409, "{status:?}");
    for (member, value) in [
        ("kind", json!("Tool")),
        ("apiVersion", json!("example.com/v1alpha1")),
        ("controller", json!(false)),
        ("name", json!("another")),
    ] {
        let status = ns
            .refused(&with(member, value))
            .await
            .with_context(|| member.to_owned())?;
        ensure!(
            status.code == 422 && status.message.contains("Agent"),
            "{member}: {status:?}"
        );
    }
    let status = elsewhere
        .refused(&pod_of(&bot, "p", &spec))
        .await?;
    expect_refusal(
        &status,
        "UnknownAgent",
        "metadata.labels[agentkube.io/agent]",
    )?;
    // Without a label it is the Agent's all the same.
    let mut unlabelled = pod_of(&bot, "unlabelled", &spec);
    unlabelled["metadata"]["labels"] = json!({});
    let created = ns.create(&unlabelled).await?;
    ensure!(
        images(&created)[0].1 == "docker.io/adaptivelive/codex:v0.3.0",
        "{created:#}"
    );
    Ok(())
}

async fn a_pod_stays_an_agents_whatever_is_taken_off_it(cluster: &Cluster) -> anyhow::Result<()> {
    let allowed = [("AGENTKUBE_ALLOWED_REGISTRIES", "docker.io")];
    let _manager = cluster.start_manager(&allowed).await?;
    let ns = cluster.namespace("labels").await?;
    ns.create(&agent("bot", &json!({"runtime": "Codex", "paused": false})))
        .await?;
    ns.wait_running("bot").await?;
    let patcher = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "patch"]});
    let patcher = User::new(cluster, &ns, "patcher", &[patcher]).await?;
    let pods = patcher.sees.api("Pod");
    let patch = async |operations: Value| {
        let patch: json_patch::Patch = serde_json::from_value(operations)?;
        match pods
            .patch("bot", &PatchParams::default(), &Patch::<()>::Json(patch))
            .await
        {
            Ok(pod) => anyhow::bail!("patched: {pod:?}"),
            Err(kube::Error::Api(status)) => Ok(*status),
            Err(error) => Err(error.into()),
        }
    };
    // The status of a pod does not come to the webhooks, and labels can be changed with it.
    let bare = json!({"metadata": {"labels": {"agentkube.io/agent": null}}});
    let by_status = ns
        .api("Pod")
        .patch_status("bot", &PatchParams::default(), &Patch::Merge(&bare))
        .await;
    let Err(kube::Error::Api(status)) = by_status else {
        anyhow::bail!("the label goes by way of the status: {by_status:?}");
    };
    ensure!(status.message.contains("immutable"), "{status:?}");
    let image =
        json!({"op": "replace", "path": "/spec/containers/0/image", "value": "quay.io/evil/x:v1"});
    let label = json!({"op": "remove", "path": "/metadata/labels/agentkube.io~1agent"});
    let relabel =
        json!({"op": "replace", "path": "/metadata/labels/agentkube.io~1agent", "value": "other"});
    let owner = json!({"op": "remove", "path": "/metadata/ownerReferences"});
    let field = "metadata.labels[agentkube.io/agent]";
    let status = patch(json!([image])).await?;
    expect_forbidden(&status, "RegistryNotAllowed", "spec.containers[0].image")?;
    let status = patch(json!([image, owner])).await?;
    expect_forbidden(&status, "RegistryNotAllowed", "spec.containers[0].image")?;
    for operations in [
        json!([image, label]),
        json!([image, label, owner]),
        json!([label]),
        json!([label, owner]),
        json!([relabel]),
    ] {
        let status = patch(operations.clone())
            .await
            .with_context(|| operations.to_string())?;
        expect_refusal(&status, "OwnerMismatch", field)?;
    }

    // Orphans are made by taking the reference off, and stay whose they were.
    let orphan = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    ns.api("Agent")
        .delete("bot", &orphan)
        .await?;
    ns.wait_gone("Agent", "bot").await?;
    ns.wait("Pod", "bot", "to be an orphan", |pod| {
        pod["metadata"]["ownerReferences"].is_null()
    })
    .await?;
    let status = patch(json!([image])).await?;
    ensure!(
        status
            .message
            .contains("RegistryNotAllowed")
            || status.code == 422,
        "{status:?}"
    );
    ns.delete("Pod", "bot").await
}

/// The status of a pod does not come to the webhooks, which judge the images of whatever is labelled.
async fn nobodys_pod_becomes_an_agents_by_way_of_its_status(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let _manager = cluster
        .start_manager(&[("AGENTKUBE_ALLOWED_REGISTRIES", "docker.io")])
        .await?;
    let ns = cluster
        .namespace("status-labels")
        .await?;
    ns.create(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "plain"},
        "spec": {"containers": [{"name": "c", "image": "quay.io/evil/x:v1"}]},
    }))
    .await?;
    for label in ["agentkube.io/agent", "agentkube.io/tool"] {
        let labels = json!({"metadata": {"labels": {label: "bot"}}});
        let labelled = ns
            .api("Pod")
            .patch_status("plain", &PatchParams::default(), &Patch::Merge(&labels))
            .await;
        let Err(kube::Error::Api(status)) = labelled else {
            anyhow::bail!("the label is put on by way of the status: {labelled:?}");
        };
        ensure!(
            status
                .message
                .contains("cannot be added to a pod through its status"),
            "{status:?}"
        );
    }
    // What else the status says goes through.
    let other = json!({"metadata": {"labels": {"team": "a"}}, "status": {"message": "m"}});
    ns.api("Pod")
        .patch_status("plain", &PatchParams::default(), &Patch::Merge(&other))
        .await?;
    Ok(())
}

async fn a_probe_asks_no_other_host_even_while_the_registrations_are_away(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let _manager = cluster.start_manager(&[]).await?;
    let ns = cluster.namespace("probes").await?;
    let asking = |action: &str, host: &str| {
        let probe = json!({action: {"host": host, "port": 80}});
        tool(
            "browser",
            &json!({"type": "custom", "image": "registry.example.com/t:v1", "probe": probe}),
        )
    };
    let actions = ["httpGet", "tcpSocket"];
    for action in actions {
        let status = ns
            .refused(&asking(action, "169.254.169.254"))
            .await?;
        let field = format!("spec.probe.{action}.host");
        expect_refusal(&status, "InvalidProbe", &field)?;
    }
    deregister(&cluster.client()).await?;
    wait_unregistered(&ns).await?;
    ns.delete("Pod", "probe").await?;
    let mut said = Vec::new();
    for action in actions {
        said.push(
            ns.refused(&asking(action, "169.254.169.254"))
                .await,
        );
    }
    register(cluster).await?;
    for status in said {
        let status = status?;
        ensure!(
            status
                .message
                .contains("a probe asks the Tool's own pod"),
            "{status:?}"
        );
    }
    // The manager puts its authority into what was just registered.
    until("a probe of its own pod to be admitted", LIMIT, async || {
        Ok(ns
            .try_create(&asking("httpGet", ""))
            .await?
            .ok())
    })
    .await?;
    Ok(())
}
