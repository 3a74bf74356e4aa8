//! Fake nodes, which KWOK plays the kubelet of.

use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, api::PostParams};
use serde_json::json;

/// Registers `count` nodes, `node-1` and on.
pub(crate) async fn create(client: &Client, count: usize) -> anyhow::Result<()> {
    let nodes = Api::<Node>::all(client.clone());
    for number in 1..=count {
        let name = format!("node-{number}");
        let resources =
            json!({"cpu": "1000", "memory": "4Ti", "ephemeral-storage": "4Ti", "pods": "5000"});
        let node = serde_json::from_value(json!({
            "metadata": {
                "name": name,
                // KWOK's own mark; tells people who look that there is no machine behind it.
                "annotations": {"kwok.x-k8s.io/node": "fake"},
                "labels": {
                    "kubernetes.io/arch": "amd64",
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux",
                    "type": "kwok",
                },
            },
            // KWOK keeps what stands here, and fills in the rest.
            "status": {"allocatable": resources, "capacity": resources},
        }))?;
        nodes
            .create(&PostParams::default(), &node)
            .await?;
    }
    Ok(())
}

/// Whether the scheduler would place pods on `count` nodes: they are ready, and the taint of new nodes is off.
pub(crate) async fn are_ready(client: &Client, count: usize) -> anyhow::Result<bool> {
    let nodes = Api::<Node>::all(client.clone())
        .list(&kube::api::ListParams::default())
        .await?;
    Ok(nodes
        .iter()
        .filter(|node| is_ready(node))
        .count()
        >= count)
}

fn is_ready(node: &Node) -> bool {
    let tainted = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.as_ref())
        .is_some_and(|taints| !taints.is_empty());
    let ready = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && !tainted
}
