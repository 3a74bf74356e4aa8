//! What users see of the reconciler: Agents and Tools become pods, and their status says how it goes.

mod restart;
mod writes;

use anyhow::{Context, ensure};
use insta::{assert_json_snapshot, assert_snapshot};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, Namespace, agent, condition, images, pod, tool},
    harness::{Test, tests},
};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = restart::tests();
    tests.extend(writes::tests());
    tests.extend(tests![Manager:
        armed_agents_run_and_kubectl_shows_them,
        the_status_of_an_agent_tells_its_images_and_conditions,
        the_pod_of_an_agent_is_the_one_that_its_spec_asks_for,
        a_paused_agent_shows_what_would_run_and_is_armed_later,
        a_deleted_pod_comes_back,
        a_deleted_agent_takes_its_pod_along,
        a_pod_of_somebody_else_is_reported_and_left_alone,
        a_custom_tool_gets_its_pod_once_an_armed_agent_lists_it,
        a_container_that_cannot_start_shows_on_the_agent,
        a_refused_pod_is_reported_and_comes_once_the_quota_is_lifted,
        an_agent_waits_for_its_service_account,
        a_namespace_with_agents_tools_and_pods_can_be_deleted,
    ]);
    tests
}

/// An armed Agent.
fn armed(name: &str, runtime: &str) -> Value {
    agent(name, &json!({"runtime": runtime, "paused": false}))
}

/// What kubectl prints, without what differs from run to run: the age, and the width of columns.
fn table(printed: &str) -> String {
    let rows = printed.lines().map(|line| {
        let mut cells: Vec<_> = line.split_whitespace().collect();
        cells[3] = "AGE";
        cells.join("  ")
    });
    rows.collect::<Vec<_>>().join("\n")
}

/// A status, without the times of its conditions.
fn timeless(object: &Value) -> Value {
    let mut status = object["status"].clone();
    for condition in status["conditions"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        condition["lastTransitionTime"] = "[time]".into();
    }
    status
}

/// The name of the Agent's or Tool's own pod, and what tells it from others of that name.
async fn own_pod(ns: &Namespace, label: &str) -> anyhow::Result<(Value, Value)> {
    let pods = ns.list("Pod", label).await?;
    ensure!(pods.len() == 1, "not one pod {label}: {pods:?}");
    let metadata = &pods[0]["metadata"];
    Ok((metadata["name"].clone(), metadata["uid"].clone()))
}

async fn armed_agents_run_and_kubectl_shows_them(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster.namespace("shown").await?;
    let custom = json!({"runtime": "Custom", "image": "quay.io/team/scribe:v1", "paused": false});
    ns.create(&armed("fixer", "Codex"))
        .await?;
    ns.create(&agent("scribe", &custom))
        .await?;
    ns.create(&armed("triage", "ClaudeCode"))
        .await?;
    ns.create(&agent("watch", &json!({"runtime": "Goose"})))
        .await?;
    for name in ["fixer", "scribe", "triage"] {
        ns.wait_running(name).await?;
    }
    ns.wait_ready("Agent", "watch", "Paused")
        .await?;
    let get = ["get", "agents", "--namespace", &ns.name];
    let said = cluster.kubectl(&get, "").await?;
    assert_snapshot!("kubectl_get_agents", table(&said.stdout));
    let said = cluster
        .kubectl(&[&get[..], &["--output", "wide"]].concat(), "")
        .await?;
    assert_snapshot!("kubectl_get_agents_wide", table(&said.stdout));
    Ok(())
}

async fn the_status_of_an_agent_tells_its_images_and_conditions(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("status").await?;
    let spec = json!({
        "runtime": "Aider",
        "image": "registry.example.com:5000/team/aider:v7",
        "paused": false,
        "sessionRecording": {"enabled": true},
    });
    ns.create(&agent("bot", &spec)).await?;
    let seen = ns.wait_running("bot").await?;
    assert_json_snapshot!("status_of_a_running_agent", timeless(&seen));
    Ok(())
}

async fn the_pod_of_an_agent_is_the_one_that_its_spec_asks_for(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("designed").await?;
    let mut agent = agent(
        "triage-bot",
        &json!({
            "runtime": "ClaudeCode",
            "paused": false,
            "mode": "system",
            "goal": {"configMapKeyRef": {"name": "goals", "key": "triage"}},
            "model": {"name": "claude-opus-4-7", "provider": "anthropic"},
            "agentToken": {"secretRef": {"name": "claude-code-token", "key": "token"}},
            "tools": [{"name": "warehouse"}, {"name": "browser"}],
            "sessionRecording": {"enabled": true},
            "imagePullSecrets": [{"name": "team-pull"}],
            "resources": {"requests": {"cpu": "500m"}, "limits": {"memory": "2Gi"}},
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "agents", "operator": "Exists"}],
        }),
    );
    agent["metadata"]["labels"] = json!({"agentkube.io/agentgroup": "support-team"});
    let agent = ns.create(&agent).await?;
    ns.wait_running("triage-bot").await?;
    let pod = ns
        .get("Pod", "triage-bot")
        .await?
        .context("the pod is there")?;
    let owner = &pod["metadata"]["ownerReferences"][0];
    ensure!(
        owner["uid"] == agent["metadata"]["uid"],
        "the pod is not the Agent's: {owner}"
    );
    // Its name differs from run to run.
    let design = design(&pod)
        .to_string()
        .replace(&ns.name, "NAMESPACE");
    let design: Value = serde_json::from_str(&design)?;
    assert_json_snapshot!("pod_of_an_agent", design);
    Ok(())
}

/// What of a pod is our own doing, without the defaults of the API server.
fn design(pod: &Value) -> Value {
    let pick = |object: &Value, fields: &[&str]| -> Value {
        fields
            .iter()
            .filter(|field| !object[**field].is_null())
            .map(|field| ((*field).to_owned(), object[*field].clone()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let list = |value: &Value, each: &dyn Fn(&Value) -> Value| -> Value {
        value
            .as_array()
            .into_iter()
            .flatten()
            .map(each)
            .collect()
    };
    let container = |container: &Value| {
        pick(
            container,
            &[
                "name",
                "image",
                "imagePullPolicy",
                "env",
                "resources",
                "restartPolicy",
                "securityContext",
                "volumeMounts",
            ],
        )
    };
    let owner = |owner: &Value| {
        pick(
            owner,
            &[
                "apiVersion",
                "kind",
                "name",
                "controller",
                "blockOwnerDeletion",
            ],
        )
    };
    let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
    let mut design = pick(
        spec,
        &[
            "automountServiceAccountToken",
            "imagePullSecrets",
            "nodeSelector",
            "restartPolicy",
            "serviceAccountName",
            "volumes",
        ],
    );
    design["labels"] = metadata["labels"].clone();
    design["ownerReferences"] = list(&metadata["ownerReferences"], &owner);
    design["generation"] = metadata["annotations"]["agentkube.io/agent-generation"].clone();
    design["initContainers"] = list(&spec["initContainers"], &container);
    design["containers"] = list(&spec["containers"], &container);
    // Kubernetes adds some of its own.
    design["tolerations"] = spec["tolerations"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|toleration| toleration["key"] == "agents")
        .cloned()
        .collect();
    design
}

async fn a_paused_agent_shows_what_would_run_and_is_armed_later(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("paused").await?;
    ns.create(&agent("bot", &json!({"runtime": "Cursor"})))
        .await?;
    let paused = ns
        .wait_ready("Agent", "bot", "Paused")
        .await?;
    assert_json_snapshot!("status_of_a_paused_agent", timeless(&paused));
    ensure!(
        ns.list("Pod", "").await?.is_empty(),
        "a paused Agent has a pod"
    );

    ns.patch("Agent", "bot", &json!({"spec": {"paused": false}}))
        .await?;
    let running = ns.wait_running("bot").await?;
    ensure!(
        running["status"]["images"] == paused["status"]["images"],
        "what runs is not what was shown: {running}"
    );
    let pod = own_pod(&ns, "agentkube.io/agent=bot").await?;

    // Paused again it keeps its pod, and says so.
    ns.patch("Agent", "bot", &json!({"spec": {"paused": true}}))
        .await?;
    let paused = ns
        .wait("Agent", "bot", "to say that it is paused", |agent| {
            condition(agent, "Ready")["message"]
                .as_str()
                .is_some_and(|message| message.contains("spec.paused is true"))
        })
        .await?;
    assert_snapshot!(
        "message_of_an_agent_paused_while_it_runs",
        message(&paused, "Ready").replace(&ns.name, "NAMESPACE")
    );
    ensure!(
        own_pod(&ns, "agentkube.io/agent=bot").await? == pod,
        "the pod is another one"
    );
    Ok(())
}

fn message(object: &Value, type_: &str) -> String {
    let condition = condition(object, type_);
    condition["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

async fn a_deleted_pod_comes_back(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster.namespace("deleted-pod").await?;
    ns.create(&armed("bot", "OpenCode"))
        .await?;
    ns.wait_running("bot").await?;
    let (_, old) = own_pod(&ns, "agentkube.io/agent=bot").await?;
    let said = cluster
        .kubectl(&["delete", "pod", "bot", "--namespace", &ns.name], "")
        .await?;
    ensure!(said.success, "{said:?}");
    ns.wait("Pod", "bot", "to be a new one, and to run", |pod| {
        pod["metadata"]["uid"] != old && pod["status"]["phase"] == "Running"
    })
    .await?;
    ns.wait_running("bot").await?;
    let events = ns.list("Event", "").await?;
    let of_agent: Vec<_> = events
        .iter()
        .filter(|event| event["regarding"]["kind"] == "Agent")
        .collect();
    ensure!(of_agent.is_empty(), "nothing failed, yet: {of_agent:?}");
    Ok(())
}

async fn a_deleted_agent_takes_its_pod_along(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster
        .namespace("deleted-agent")
        .await?;
    ns.create(&armed("bot", "Cline"))
        .await?;
    ns.wait_running("bot").await?;
    let said = cluster
        .kubectl(&["delete", "agent", "bot", "--namespace", &ns.name], "")
        .await?;
    ensure!(said.success, "{said:?}");
    ns.wait_gone("Pod", "bot").await?;

    // One of the same name starts over, however much is left of the first.
    ns.create(&armed("bot", "Cline"))
        .await?;
    ns.wait_running("bot").await?;
    Ok(())
}

async fn a_pod_of_somebody_else_is_reported_and_left_alone(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("taken").await?;
    let spec = json!({"containers": [{"name": "web", "image": "nginx:1.27"}]});
    ns.create(&pod("bot", &json!({}), &spec))
        .await?;
    let before = ns
        .wait("Pod", "bot", "to run", |pod| {
            pod["status"]["phase"] == "Running"
        })
        .await?;
    ns.create(&armed("bot", "Codex"))
        .await?;
    let told = ns
        .wait_ready("Agent", "bot", "PodNameTaken")
        .await?;
    assert_json_snapshot!("status_where_the_name_is_taken", timeless(&told));
    let event = ns
        .wait_event("bot", "PodNameTaken")
        .await?;
    ensure!(
        event["type"] == "Warning" && event["note"] == message(&told, "Ready"),
        "{event}"
    );
    let after = ns.get("Pod", "bot").await?;
    ensure!(
        after.as_ref() == Some(&before),
        "the pod was touched: {after:?}\nbefore: {before}"
    );

    ns.delete("Pod", "bot").await?;
    ns.wait_running("bot").await?;
    own_pod(&ns, "agentkube.io/agent=bot").await?;
    Ok(())
}

async fn a_custom_tool_gets_its_pod_once_an_armed_agent_lists_it(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("tools").await?;
    let browser = json!({
        "type": "custom",
        "image": "quay.io/team/browser:v1",
        "config": {"hostname": "browser.internal", "port": 9222},
    });
    ns.create(&tool("browser", &browser))
        .await?;
    ns.create(&tool("cache", &json!({"type": "redis"})))
        .await?;
    let spec = json!({"runtime": "Codex", "tools": [{"name": "browser"}, {"name": "cache"}]});
    ns.create(&agent("bot", &spec)).await?;
    let unused = ns
        .wait_ready("Tool", "browser", "Unused")
        .await?;
    assert_snapshot!("message_of_an_unused_tool", message(&unused, "Ready"));
    ns.wait_ready("Agent", "bot", "Paused")
        .await?;
    let pods = ns.list("Pod", "").await?;
    ensure!(pods.is_empty(), "nobody armed needs a pod: {pods:?}");

    ns.patch("Agent", "bot", &json!({"spec": {"paused": false}}))
        .await?;
    let running = ns
        .wait_ready("Tool", "browser", "PodReady")
        .await?;
    assert_json_snapshot!("status_of_a_running_tool", timeless(&running));
    ns.wait_running("bot").await?;
    let pod = ns
        .get("Pod", "tool-browser")
        .await?
        .context("the pod is there")?;
    ensure!(
        images(&pod)
            == [(
                "tool".to_owned(),
                "quay.io/team/browser:v1".to_owned(),
                "IfNotPresent".to_owned()
            )],
        "{pod}"
    );
    let pods = ns.list("Pod", "").await?;
    ensure!(pods.len() == 2, "a Tool of type redis has a pod: {pods:?}");

    // Nobody needs it any more: it stays, and says so.
    ns.delete("Agent", "bot").await?;
    let kept = ns
        .wait("Tool", "browser", "to say that it is not used", |tool| {
            message(tool, "Ready").contains("no armed Agent")
        })
        .await?;
    assert_snapshot!(
        "message_of_a_tool_that_is_no_longer_used",
        message(&kept, "Ready").replace(&ns.name, "NAMESPACE")
    );
    ns.delete("Tool", "browser").await?;
    ns.wait_gone("Pod", "tool-browser")
        .await
}

async fn a_container_that_cannot_start_shows_on_the_agent(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster.namespace("stuck").await?;
    let spec = json!({
        "runtime": "Goose",
        "paused": false,
        "agentToken": {"secretRef": {"name": "goose-token", "key": "token"}},
        // No node has it, so that no kubelet speaks for the pod, and this test can.
        "nodeSelector": {"agentkube.io/nowhere": "true"},
    });
    ns.create(&agent("bot", &spec)).await?;
    let unschedulable = ns
        .wait_ready("Agent", "bot", "Unschedulable")
        .await?;
    ensure!(
        message(&unschedulable, "Ready").contains("node affinity/selector"),
        "the scheduler's words are missing: {unschedulable}"
    );
    ns.wait_event("bot", "Unschedulable")
        .await?;

    let mut told = Vec::new();
    for (container, reason, words) in [
        ("agent", "ErrImagePull", "manifest unknown"),
        ("agentlet", "ImagePullBackOff", "Back-off pulling image"),
        (
            "agent",
            "CreateContainerConfigError",
            "secret \"goose-token\" not found",
        ),
    ] {
        let list = match container {
            "agent" => "containerStatuses",
            _ => "initContainerStatuses",
        };
        let waiting = json!([{
            "name": container,
            "image": "",
            "imageID": "",
            "ready": false,
            "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": words}},
        }]);
        let mut status = json!({"containerStatuses": null, "initContainerStatuses": null});
        status[list] = waiting;
        ns.api("Pod")
            .patch_status(
                "bot",
                &PatchParams::default(),
                &Patch::Merge(json!({"status": status})),
            )
            .await?;
        let agent = ns
            .wait_ready("Agent", "bot", reason)
            .await?;
        ensure!(agent["status"]["phase"] == "Pending", "{agent}");
        ns.wait_event("bot", reason).await?;
        told.push(message(&agent, "Ready"));
    }
    assert_snapshot!("messages_of_containers_that_wait", told.join("\n"));
    Ok(())
}

async fn a_refused_pod_is_reported_and_comes_once_the_quota_is_lifted(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("quota").await?;
    let quota = json!({
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"pods": "0"}},
    });
    ns.create(&quota).await?;
    ns.wait("ResourceQuota", "none", "to be in force", |quota| {
        quota["status"]["hard"]["pods"] == "0"
    })
    .await?;
    ns.create(&armed("bot", "Codex"))
        .await?;
    let told = ns
        .wait_ready("Agent", "bot", "PodCreateFailed")
        .await?;
    ensure!(told["status"]["phase"] == "Pending", "{told}");
    assert_snapshot!("message_of_a_refused_pod", message(&told, "Ready"));
    let event = ns
        .wait_event("bot", "PodCreateFailed")
        .await?;
    ensure!(
        event["type"] == "Warning" && event["note"] == message(&told, "Ready"),
        "{event}"
    );

    ns.delete("ResourceQuota", "none")
        .await?;
    ns.wait_running("bot").await?;
    Ok(())
}

async fn an_agent_waits_for_its_service_account(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster.namespace("account").await?;
    let spec = json!({"runtime": "Codex", "paused": false, "serviceAccountName": "builder"});
    ns.create(&agent("bot", &spec)).await?;
    let told = ns
        .wait_ready("Agent", "bot", "PodCreateFailed")
        .await?;
    ensure!(
        told["status"]["phase"] == "Pending" && message(&told, "Ready").contains("builder"),
        "{told}"
    );
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "builder"}});
    ns.create(&account).await?;
    ns.wait_running("bot").await?;
    let pod = ns
        .get("Pod", "bot")
        .await?
        .context("the pod is there")?;
    ensure!(
        pod["spec"]["serviceAccountName"] == "builder"
            && pod["spec"]["automountServiceAccountToken"].is_null(),
        "{pod}"
    );
    Ok(())
}

async fn a_namespace_with_agents_tools_and_pods_can_be_deleted(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("leaving").await?;
    let custom = json!({"type": "custom", "image": "quay.io/team/browser:v1"});
    ns.create(&tool("browser", &custom))
        .await?;
    let spec = json!({"runtime": "Codex", "paused": false, "tools": [{"name": "browser"}]});
    for name in ["one", "two", "three"] {
        ns.create(&agent(name, &spec)).await?;
    }
    ns.create(&agent("resting", &json!({"runtime": "Codex"})))
        .await?;
    for name in ["one", "two", "three"] {
        ns.wait_running(name).await?;
    }
    ns.wait_ready("Tool", "browser", "PodReady")
        .await?;
    ns.delete_all().await
}
