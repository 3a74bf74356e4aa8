//! What the reconciler costs the API server, by the API server's own log.

use anyhow::ensure;
use serde_json::Value;

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
    // One after the other, so that pods start at once on a busy machine, too.
    for number in 0..AGENTS {
        let name = format!("bot-{number}");
        ns.create(&armed(&name, "Codex"))
            .await?;
        ns.wait_running(&name).await?;
    }
    let Writes { pods, statuses } = Writes::to(cluster, &ns.name)?;
    ensure!(pods == AGENTS, "{pods} pods for {AGENTS} Agents");
    // One of them may have met a slow moment after all, but not every one.
    ensure!(
        (AGENTS..2 * AGENTS).contains(&statuses),
        "{statuses} statuses were written for {AGENTS} Agents"
    );
    Ok(())
}

/// Requests about one namespace that the API server has answered. Other tests leave Agents behind, of
/// which a new manager has something to tell, too.
struct Writes {
    pods: u64,
    statuses: u64,
}

impl Writes {
    fn to(cluster: &Cluster, namespace: &str) -> anyhow::Result<Self> {
        let mut writes = Self {
            pods: 0,
            statuses: 0,
        };
        for event in cluster.audit_events()? {
            let about = &event["objectRef"];
            if about["namespace"] != namespace {
                continue;
            }
            match (&event["verb"], &about["resource"], &about["subresource"]) {
                (verb, resource, Value::Null) if verb == "create" && resource == "pods" => {
                    writes.pods += 1;
                }
                (verb, resource, subresource)
                    if verb == "patch" && resource == "agents" && subresource == "status" =>
                {
                    writes.statuses += 1;
                }
                _ => {}
            }
        }
        Ok(writes)
    }
}
