//! What the reconciler costs the API server, by the API server's own count.

use anyhow::ensure;

use super::armed;
use crate::{
    cluster::Cluster,
    harness::{Test, tests},
};

pub(super) fn tests() -> Vec<Test> {
    tests![ControlPlane: an_agent_whose_pod_starts_at_once_costs_two_writes]
}

async fn an_agent_whose_pod_starts_at_once_costs_two_writes(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    const AGENTS: u64 = 5;
    let _manager = cluster.start_manager(&[]).await?;
    let ns = cluster.namespace("writes").await?;
    let before = Writes::so_far(cluster).await?;
    // One after the other, so that pods start at once on a busy machine, too.
    for number in 0..AGENTS {
        let name = format!("bot-{number}");
        ns.create(&armed(&name, "Codex"))
            .await?;
        ns.wait_running(&name).await?;
    }
    let after = Writes::so_far(cluster).await?;
    let pods = after.pods - before.pods;
    let statuses = after.statuses - before.statuses;
    ensure!(pods == AGENTS, "{pods} pods for {AGENTS} Agents");
    // One of them may have met a slow moment after all, but not every one.
    ensure!(
        (AGENTS..2 * AGENTS).contains(&statuses),
        "{statuses} statuses were written for {AGENTS} Agents"
    );
    Ok(())
}

/// Requests that the API server has answered.
struct Writes {
    pods: u64,
    statuses: u64,
}

impl Writes {
    async fn so_far(cluster: &Cluster) -> anyhow::Result<Self> {
        let metrics = cluster
            .client()
            .request_text(http::Request::get("/metrics").body(Vec::new())?)
            .await?;
        let count = |labels: [&str; 3]| -> u64 {
            metrics
                .lines()
                .filter(|line| line.starts_with("apiserver_request_total{"))
                .filter(|line| {
                    labels
                        .iter()
                        .all(|label| line.contains(label))
                })
                .filter_map(|line| {
                    line.rsplit(' ')
                        .next()?
                        .parse::<u64>()
                        .ok()
                })
                .sum()
        };
        Ok(Self {
            pods: count([r#"resource="pods""#, r#"subresource="""#, r#"verb="POST""#]),
            statuses: count([
                r#"resource="agents""#,
                r#"subresource="status""#,
                r#"verb="PATCH""#,
            ]),
        })
    }
}
