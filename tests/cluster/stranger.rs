//! A leader that is no pod of the installation, as `agentkube manager --check` tells it.

use agentkube_playground::{ManagerOptions, until};
use anyhow::ensure;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{Api, ResourceExt, api::ListParams};

use crate::{
    checks::check,
    cluster::{Cluster, LIMIT, NAMESPACE, REGISTRATION},
    harness::{Test, tests},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane: a_leader_that_is_no_pod_of_the_installation_is_told]
}

async fn a_leader_that_is_no_pod_of_the_installation_is_told(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let admin = cluster.control_plane.admin_kubeconfig();
    cluster.delete_lease().await?;
    let options = ManagerOptions {
        name: "from-elsewhere".to_owned(),
        ..cluster.manager_options(&[])
    };
    let manager = cluster
        .start_manager_with(options)
        .await?;
    let said = until("the leader to be told", LIMIT, async || {
        let said = check(cluster, admin, &[]).await?;
        Ok((!said.succeeded).then_some(said))
    })
    .await?;
    said.line(
        "error    installations  there is another installation: `from-elsewhere`, which renews the Lease \
         `agentkube-manager` and is not one of our pods in the namespace `agentkube-system`",
    )?;

    // It is gone and its name is still in the Lease, as after the node of a leader died.
    drop(manager);
    let leases: Api<Lease> = Api::namespaced(cluster.client(), NAMESPACE);
    let spec = leases.get(REGISTRATION).await?.spec;
    let holder = spec.and_then(|spec| spec.holder_identity);
    let is_its = |holder: &str| holder.starts_with("from-elsewhere_");
    ensure!(holder.as_deref().is_some_and(is_its), "{holder:?}");
    let said = check(cluster, admin, &[]).await?;
    said.line("ok       installations")?;
    cluster.delete_lease().await
}

/// The name of a pod that the shipped Deployment has. Nodes are simulated, and managers run beside.
pub(crate) async fn a_pod_of_the_deployment(cluster: &Cluster) -> anyhow::Result<String> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), NAMESPACE);
    let ours = ListParams::default().labels("app.kubernetes.io/name=agentkube-manager");
    until("a pod of the Deployment", LIMIT, async || {
        let found = pods.list(&ours).await?;
        Ok(found
            .iter()
            .map(ResourceExt::name_any)
            .next())
    })
    .await
}
