//! From armed Agents to pods: the leader against a bare client that creates the same pods through the same webhook.

use std::time::{Duration, Instant};

use agentkube::{
    api::{Agent, MANAGER, MANAGER_NAMESPACE},
    leader::Candidate,
    workload::agent_pod,
};
use agentkube_playground::until;
use bytes::Bytes;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams},
};
use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    Bench,
    load::Ask,
    process::{cpu, resident_kib},
    stage::{LIMIT, LONG_LIMIT, Stage, until_idle},
    statistics::{Metric, float},
};

const NAMESPACE: &str = "bench-reconcile";

/// As many as the reconciler works on at a time.
const CONNECTIONS: usize = 16;

pub(super) fn steps(rounds: usize) -> usize {
    rounds * 4
}

/// One round's figures.
struct Round {
    raw_per_second: f64,
    per_second: f64,
    until_running: f64,
    cpu_seconds: f64,
    resident_mib: f64,
    pods: f64,
    statuses: f64,
    events: f64,
}

const METRICS: [Metric<Round>; 10] = [
    ("reconcileVsRaw", |round| {
        round.per_second / round.raw_per_second
    }),
    ("writesPerAgent", |round| {
        round.pods + round.statuses + round.events
    }),
    ("podsPerSecond", |round| round.per_second),
    ("rawPodsPerSecond", |round| round.raw_per_second),
    ("untilRunningSeconds", |round| round.until_running),
    ("managerCpuSeconds", |round| round.cpu_seconds),
    ("managerMiB", |round| round.resident_mib),
    ("podWritesPerAgent", |round| round.pods),
    ("statusWritesPerAgent", |round| round.statuses),
    ("eventWritesPerAgent", |round| round.events),
];

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let mut stage = Stage::without_manager(&bench.binary).await?;
    stage.namespace(NAMESPACE).await?;
    let count = bench.agents.reconcile;
    let mut rounds = Vec::new();
    for _ in 0..bench.rounds {
        rounds.push(round(bench, &mut stage, count).await?);
    }
    for (name, metric) in METRICS {
        bench
            .figures
            .note(&format!("reconcile.{name}"), rounds.iter().map(metric));
    }
    bench
        .figures
        .note("reconcile.agents", [float(count)]);
    Ok(())
}

async fn round(bench: &mut Bench, stage: &mut Stage, count: usize) -> anyhow::Result<Round> {
    let client = stage.control_plane.client();
    // While somebody else holds the Lease the manager only admits, and Agents wait for their pods.
    let hold = Hold::take(client.clone()).await?;
    stage.start_answering_manager().await?;
    bench.step(&format!("reconcile: putting {count} Agents there"));
    stage
        .put_agents(NAMESPACE, 0..count, false)
        .await?;

    bench.step("reconcile: a bare client creates their pods");
    let raw = raw(stage, count).await?;
    until_running(stage).await?;
    delete_pods(stage).await?;

    bench.step("reconcile: the leader creates them");
    let id = stage.manager()?.id();
    let writes = Writes::so_far(&client).await?;
    let cpu_before = cpu(id)?;
    hold.release().await?;
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    // It looks for the Lease every second; that wait is not its work.
    until("the first pod", LIMIT, async || {
        Ok((stage.count(&pods).await? > 0).then_some(()))
    })
    .await?;
    let (start, first) = (Instant::now(), stage.count(&pods).await?);
    until("a pod for every Agent", LONG_LIMIT, async || {
        Ok((stage.count(&pods).await? >= count).then_some(()))
    })
    .await?;
    let per_second = float(count - first.min(count)) / start.elapsed().as_secs_f64();
    until_running(stage).await?;
    let until_running = start.elapsed().as_secs_f64();
    until_idle(id).await?;
    let after = Writes::so_far(&client).await?;
    let cpu_seconds = cpu(id)?
        .saturating_sub(cpu_before)
        .as_secs_f64();
    let resident_mib = float(resident_kib(id)?) / 1024.0;

    bench.step("reconcile: putting everything away");
    stage.stop_manager().await;
    let agents: Api<Agent> = Api::namespaced(client.clone(), NAMESPACE);
    let all = ListParams::default();
    agents
        .delete_collection(&DeleteParams::default(), &all)
        .await?;
    delete_pods(stage).await?;
    let path = format!("/apis/agentkube.io/v1alpha1/namespaces/{NAMESPACE}/agents");
    until("the Agents to be gone", LONG_LIMIT, async || {
        Ok((stage.count(&path).await? == 0).then_some(()))
    })
    .await?;

    let each = |writes: f64| writes / float(count);
    Ok(Round {
        raw_per_second: raw,
        per_second,
        until_running,
        cpu_seconds,
        resident_mib,
        pods: each(after.pods - writes.pods),
        statuses: each(after.statuses - writes.statuses),
        events: each(after.events - writes.events),
    })
}

/// Creates the pods of all Agents as fast as so many connections can; pods a second.
async fn raw(stage: &Stage, count: usize) -> anyhow::Result<f64> {
    let agents: Api<Agent> = Api::namespaced(stage.control_plane.client(), NAMESPACE);
    let mut bodies: Vec<Bytes> = Vec::with_capacity(count);
    for agent in agents
        .list(&ListParams::default())
        .await?
    {
        bodies.push(serde_json::to_vec(&agent_pod(&agent))?.into());
    }
    anyhow::ensure!(
        bodies.len() == count,
        "{} Agents and not {count}",
        bodies.len()
    );
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    let load = stage
        .api
        .connect(CONNECTIONS)
        .await?
        .each(count, |number| {
            let body = bodies
                .get(number)
                .cloned()
                .unwrap_or_default();
            Ok(Ask::post(&path, body))
        })
        .await?;
    Ok(load.per_second())
}

async fn until_running(stage: &Stage) -> anyhow::Result<()> {
    until("all pods to run", LONG_LIMIT, async || {
        let run = stage.all_pods_run(NAMESPACE).await?;
        if !run {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(run.then_some(()))
    })
    .await
}

async fn delete_pods(stage: &Stage) -> anyhow::Result<()> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    until("the pods to be gone", LONG_LIMIT, async || {
        let pods: Api<Pod> = Api::namespaced(stage.control_plane.client(), NAMESPACE);
        let at_once = DeleteParams::default().grace_period(0);
        pods.delete_collection(&at_once, &ListParams::default())
            .await?;
        Ok((stage.count(&path).await? == 0).then_some(()))
    })
    .await
}

/// The Lease, held by the benchmark.
struct Hold {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Hold {
    async fn take(client: Client) -> anyhow::Result<Self> {
        let candidate = Candidate::new(client, MANAGER_NAMESPACE, "bench");
        let (end, ended) = oneshot::channel();
        let (leads, is_leading) = tokio::sync::watch::channel(false);
        let task = tokio::spawn(async move {
            candidate
                .run(
                    |holds| {
                        leads.send_replace(holds);
                    },
                    std::future::pending::<()>,
                    async {
                        let _ = ended.await;
                    },
                )
                .await;
        });
        let mut is_leading = is_leading;
        tokio::time::timeout(LIMIT, is_leading.wait_for(|leads| *leads)).await??;
        Ok(Self { end, task })
    }

    async fn release(self) -> anyhow::Result<()> {
        let _ = self.end.send(());
        Ok(self.task.await?)
    }
}

/// Requests that the API server has answered, of those that the leader makes.
struct Writes {
    pods: f64,
    statuses: f64,
    events: f64,
}

impl Writes {
    async fn so_far(client: &Client) -> anyhow::Result<Self> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let metrics = client.request_text(request).await?;
        let count = |labels: &[&str]| -> f64 {
            metrics
                .lines()
                .filter(|line| line.starts_with("apiserver_request_total{"))
                .filter(|line| {
                    labels
                        .iter()
                        .all(|label| line.contains(label))
                })
                .filter_map(|line| {
                    line.rsplit_once(' ')?
                        .1
                        .parse::<f64>()
                        .ok()
                })
                .sum()
        };
        // The scheduler writes Events, too, and the count does not tell whose they are.
        let events: Api<Event> = Api::namespaced(client.clone(), NAMESPACE);
        let ours = ListParams::default().fields(&format!("reportingComponent={MANAGER}"));
        Ok(Self {
            pods: count(&["resource=\"pods\"", "subresource=\"\"", "verb=\"POST\""]),
            statuses: count(&["resource=\"agents\"", "subresource=\"status\""]),
            events: float(
                events
                    .list_metadata(&ours)
                    .await?
                    .items
                    .len(),
            ),
        })
    }
}
