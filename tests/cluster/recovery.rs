//! What becomes of Agents when something that everybody needs goes away and comes back.

use std::{collections::BTreeMap, time::Duration};

use agentkube_playground::{Manager, ManagerOptions, Proxy, until};
use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    cluster::{Cluster, LIMIT, Namespace, agent, images},
    faults::{deregister, register, wait_unregistered},
    harness::{Test, tests},
    rollout::{load, namespace_with_agent, two_replicas},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane:
        an_api_server_that_is_restarted_under_load_costs_nobody_anything,
        etcd_may_be_away_for_twenty_seconds,
        a_history_that_was_compacted_is_listed_anew,
        a_manager_that_was_cut_off_catches_up,
        an_api_server_that_answers_429_and_500_is_asked_again,
        crds_may_be_removed_and_put_back,
        a_namespace_that_goes_while_agents_are_created_goes,
        five_thousand_agents_that_came_while_no_manager_was_there,
    ]
}

/// How long etcd is away.
const OUTAGE: Duration = Duration::from_secs(20);
/// How long a whole crowd may take on a busy machine.
const CROWD_LIMIT: Duration = Duration::from_secs(400);
const CROWD: usize = 5_000;
/// How many lines about one fault are still one saying: each of nine watches, the Lease, the
/// reconciler and its checks meet it by themselves. What is counted here is that it is not one for
/// each object or each try.
const MOST_LINES: usize = 20;

fn armed() -> Value {
    json!({"runtime": "Codex", "paused": false})
}

/// Creates armed Agents `NAME-0` and on, as many at a time as a person with a loop would.
async fn create_agents(ns: &Namespace, name: &str, count: usize) -> anyhow::Result<()> {
    stream::iter(0..count)
        .map(async |index| {
            ns.create(&agent(&format!("{name}-{index}"), &armed()))
                .await
        })
        .buffer_unordered(16)
        .try_for_each(async |_| Ok(()))
        .await
}

/// Waits until every armed Agent here has one pod that it owns, and demands that there is no other
/// pod, and that each runs what the rules say.
async fn expect_one_pod_each(ns: &Namespace, limit: Duration) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    let settled = until("every Agent to have its pod", limit, async || {
        let owners = owners(ns).await?;
        missing = ns
            .list("Agent", "")
            .await?
            .into_iter()
            .filter(|agent| agent["spec"]["paused"] == false)
            .filter(|agent| {
                let uid = agent["metadata"]["uid"].as_str();
                !uid.is_some_and(|uid| owners.contains_key(uid))
            })
            .map(|agent| agent["metadata"]["name"].to_string())
            .collect();
        Ok(missing.is_empty().then_some(()))
    })
    .await;
    settled.with_context(|| format!("without a pod: {missing:?}"))?;

    let agents = ns.list("Agent", "").await?;
    for (uid, pods) in owners(ns).await? {
        ensure!(
            agents
                .iter()
                .any(|agent| agent["metadata"]["uid"] == *uid),
            "an orphan: {pods:?}"
        );
        let [pod] = pods.as_slice() else {
            anyhow::bail!("more pods than one for an Agent: {pods:?}")
        };
        let image = images(pod).remove(0).1;
        ensure!(
            image == "docker.io/adaptivelive/codex:v0.3.0",
            "another image: {image}"
        );
    }
    Ok(())
}

/// The pods here, by the uid of the Agent that they belong to.
async fn owners(ns: &Namespace) -> anyhow::Result<BTreeMap<String, Vec<Value>>> {
    let mut owners = BTreeMap::<_, Vec<_>>::new();
    for pod in ns.list("Pod", "").await? {
        let owner = pod["metadata"]["ownerReferences"][0]["uid"]
            .as_str()
            .with_context(|| format!("nobody's: {pod}"))?;
        owners
            .entry(owner.to_owned())
            .or_default()
            .push(pod);
    }
    Ok(owners)
}

/// Demands that what a manager logged of a fault is for people to read.
fn expect_few_lines(what: &str, before: &str, log: &str) -> anyhow::Result<()> {
    let said: Vec<_> = log
        .strip_prefix(before)
        .unwrap_or(log)
        .lines()
        .filter(|line| line.contains("WARN") || line.contains("ERROR"))
        .collect();
    println!("{what}: {} lines of warnings", said.len());
    ensure!(said.len() <= MOST_LINES, "{what}:\n{}", said.join("\n"));
    Ok(())
}

async fn an_api_server_that_is_restarted_under_load_costs_nobody_anything(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let mut replicas = two_replicas(cluster).await?;
    let ns = namespace_with_agent(cluster).await?;
    let before = replicas.running()[0].log();
    let load = load(cluster, &ns).await?;
    until("some load", LIMIT, async || {
        Ok((load.so_far().answered > 200).then_some(()))
    })
    .await?;
    create_agents(&ns, "before", 20).await?;
    cluster
        .control_plane
        .restart_apiserver()
        .await?;
    create_agents(&ns, "after", 20).await?;
    expect_one_pod_each(&ns, LIMIT).await?;
    let answered = load.so_far().answered;
    until("more load", LIMIT, async || {
        Ok((load.so_far().answered > answered + 200).then_some(()))
    })
    .await?;
    let calls = load.stop().await;
    ensure!(calls.failures.is_empty(), "{:?}", calls.failures);
    expect_few_lines(
        "API server restarted",
        &before,
        &replicas.running()[0].log(),
    )?;
    replicas.stop().await;
    Ok(())
}

async fn etcd_may_be_away_for_twenty_seconds(cluster: &Cluster) -> anyhow::Result<()> {
    let manager = cluster.start_manager(&[]).await?;
    let ns = cluster.namespace("etcd").await?;
    create_agents(&ns, "before", 10).await?;
    let before = manager.log();
    cluster.control_plane.stop_etcd().await;
    sleep(OUTAGE).await;
    cluster
        .control_plane
        .start_etcd()
        .await?;
    until("Agents to be created again", LIMIT, async || {
        Ok(ns
            .try_create(&agent("first", &armed()))
            .await
            .ok()
            .and_then(Result::ok))
    })
    .await?;
    create_agents(&ns, "after", 10).await?;
    expect_one_pod_each(&ns, LIMIT).await?;
    expect_few_lines("etcd away", &before, &manager.log())
}

async fn a_history_that_was_compacted_is_listed_anew(cluster: &Cluster) -> anyhow::Result<()> {
    let mut manager = cluster.start_manager(&[]).await?;
    let ns = cluster.namespace("compacted").await?;
    create_agents(&ns, "before", 5).await?;
    expect_one_pod_each(&ns, LIMIT).await?;
    let before = manager.log();

    // While the manager sees nothing, the world moves on, and what it missed is forgotten.
    manager.pause();
    deregister(&cluster.client()).await?;
    wait_unregistered(&ns).await?;
    ns.delete("Pod", "probe").await?;
    ns.delete("Agent", "before-0").await?;
    create_agents(&ns, "meanwhile", 10).await?;
    cluster.control_plane.compact().await?;
    cluster
        .control_plane
        .restart_apiserver()
        .await?;
    register(cluster).await?;
    manager.resume();

    expect_one_pod_each(&ns, LIMIT).await?;
    let gone = ns
        .refused(&crate::cluster::pod(
            "orphan",
            &json!({"agentkube.io/agent": "before-0"}),
            &json!({"containers": [{"name": "agent", "image": "agentkube.invalid/agent"}]}),
        ))
        .await?;
    ensure!(
        gone.message.contains("UnknownAgent") || gone.message.contains("before-0"),
        "{gone:?}"
    );
    expect_few_lines("history compacted", &before, &manager.log())
}

async fn a_manager_that_was_cut_off_catches_up(cluster: &Cluster) -> anyhow::Result<()> {
    let (proxy, manager) = proxied(cluster).await?;
    let ns = cluster.namespace("cut-off").await?;
    create_agents(&ns, "before", 5).await?;
    expect_one_pod_each(&ns, LIMIT).await?;
    let before = manager.log();
    proxy.freeze_everything();
    // What is known is answered; what is not asks for another try, and is given it.
    create_agents(&ns, "meanwhile", 5).await?;
    sleep(OUTAGE).await;
    proxy.thaw();
    expect_one_pod_each(&ns, LIMIT).await?;
    expect_few_lines("cut off", &before, &manager.log())
}

async fn an_api_server_that_answers_429_and_500_is_asked_again(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let (proxy, manager) = proxied(cluster).await?;
    let ns = cluster.namespace("refusing").await?;
    let before = manager.log();
    for code in [429, 500] {
        proxy.answer_writes_with(code);
        create_agents(&ns, &format!("code-{code}"), 10).await?;
        // It has tried, and would have gone on trying too often.
        until("a write to be refused", LIMIT, async || {
            Ok((proxy.refused() > 0).then_some(()))
        })
        .await?;
        // What is counted is how often it tries in a span of time, so that time has to pass.
        sleep(Duration::from_secs(3)).await;
        let refused = proxy.refused();
        println!("{refused} writes answered with {code}");
        ensure!(refused < 200, "{refused} writes in a few seconds");
        proxy.thaw();
        expect_one_pod_each(&ns, LIMIT).await?;
    }
    expect_few_lines("429 and 500", &before, &manager.log())
}

/// A manager whose every request goes through a proxy.
async fn proxied(cluster: &Cluster) -> anyhow::Result<(Proxy, Manager)> {
    let proxy = Proxy::start(&cluster.control_plane).await?;
    let kubeconfig = proxy
        .kubeconfig(&cluster.control_plane, "proxied")
        .await?;
    let manager = cluster
        .start_manager_with(ManagerOptions {
            env: vec![("KUBECONFIG".to_owned(), kubeconfig)],
            ..cluster.manager_options(&[])
        })
        .await?;
    Ok((proxy, manager))
}

async fn crds_may_be_removed_and_put_back(cluster: &Cluster) -> anyhow::Result<()> {
    let manager = cluster.start_manager(&[]).await?;
    let ns = cluster.namespace("crds").await?;
    create_agents(&ns, "before", 3).await?;
    expect_one_pod_each(&ns, LIMIT).await?;
    let before = manager.log();
    let crds: Api<CustomResourceDefinition> = Api::all(cluster.client());
    let name = "agents.agentkube.io";
    let mut crd = crds.get(name).await?;
    crds.delete(name, &DeleteParams::default())
        .await?;
    until("the CRD and its Agents to go", LIMIT, async || {
        Ok(crds
            .get_opt(name)
            .await?
            .is_none()
            .then_some(()))
    })
    .await?;
    crd.metadata = ObjectMeta {
        name: crd.metadata.name,
        annotations: crd.metadata.annotations,
        labels: crd.metadata.labels,
        ..ObjectMeta::default()
    };
    crd.status = None;
    crds.create(&PostParams::default(), &crd)
        .await?;
    until("Agents to be served again", LIMIT, async || {
        Ok(ns
            .try_create(&agent("after-0", &armed()))
            .await?
            .ok())
    })
    .await?;
    // The pods of those that went are nobody's now, and the garbage collector takes them.
    for index in 0..3 {
        ns.wait_gone("Pod", &format!("before-{index}"))
            .await?;
    }
    expect_one_pod_each(&ns, LIMIT).await?;
    expect_few_lines("CRD removed", &before, &manager.log())
}

async fn a_namespace_that_goes_while_agents_are_created_goes(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let manager = cluster.start_manager(&[]).await?;
    let ns = cluster.namespace("going").await?;
    let before = manager.log();
    let creations = async {
        for index in 0..100 {
            // From some moment on they are refused: the namespace is being terminated, then it is gone.
            let _ = ns
                .try_create(&agent(&format!("bot-{index}"), &armed()))
                .await;
        }
    };
    let ((), gone) = futures::join!(creations, ns.delete_all());
    gone?;
    let other = cluster.namespace("staying").await?;
    create_agents(&other, "bot", 3).await?;
    expect_one_pod_each(&other, LIMIT).await?;
    expect_few_lines("namespace deleted", &before, &manager.log())
}

async fn five_thousand_agents_that_came_while_no_manager_was_there(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("crowd").await?;
    deregister(&cluster.client()).await?;
    wait_unregistered(&ns).await?;
    ns.delete("Pod", "probe").await?;
    create_agents(&ns, "bot", CROWD).await?;
    let start = std::time::Instant::now();
    let manager = cluster.start_manager(&[]).await?;
    // To list all of them again and again would keep a processor busy that others need.
    until("as many pods as Agents", CROWD_LIMIT, async || {
        Ok((ns.count("Pod").await? >= CROWD).then_some(()))
    })
    .await?;
    println!(
        "{CROWD} Agents have their pods {:.1} s after the manager was started",
        start.elapsed().as_secs_f64()
    );
    expect_one_pod_each(&ns, LIMIT).await?;
    expect_few_lines("a crowd", "", &manager.log())?;
    drop(manager);
    // Nobody after this test should have to look through them.
    ns.delete_all_within(CROWD_LIMIT).await
}
