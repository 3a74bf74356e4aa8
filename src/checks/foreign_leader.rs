use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt};
use tokio::time::{Instant, sleep};

use super::{
    read,
    subject::{Installation, managers},
};
use crate::{
    api::Readable,
    leader::{HeldLease, LEASE, RENEW_PERIOD, holder, name_of},
};

/// The time that a holder has to renew the Lease.
const PATIENCE: Duration = RENEW_PERIOD.saturating_mul(2);
/// Poll interval of the Lease.
const PERIOD: Duration = Duration::from_millis(500);

/// Describes a leader that is not a pod of this installation.
///
/// A finished pod leaves its name in the Lease, so only a holder that renews it counts. A renewal is a
/// change of the Lease; its times are not compared with the local clock.
pub(super) async fn find(
    client: &Client,
    subject: &Installation,
) -> Result<Option<String>, kube::Error> {
    let leases: Api<Readable<HeldLease>> = Api::namespaced(client.clone(), &subject.namespace);
    let end = Instant::now() + PATIENCE;
    let mut seen = None;
    loop {
        let Some(lease) = read(leases.get_opt(LEASE).await?)? else {
            return Ok(None);
        };
        let Some(holder) = holder(&lease) else {
            return Ok(None);
        };
        let name = name_of(holder);
        // Pods are listed, because the holder's name may not be a valid name of a pod.
        if pods(client, subject)
            .await?
            .iter()
            .any(|pod| pod == name)
        {
            return Ok(None);
        }
        let now = (holder.to_owned(), lease.resource_version());
        let renews = |before: &(String, _)| before.0 == now.0 && before.1 != now.1;
        if seen.as_ref().is_some_and(renews) {
            return Ok(Some(format!(
                "`{name}`, which renews the Lease `{LEASE}` and is not one of our pods in the namespace `{}`",
                subject.namespace
            )));
        }
        seen = Some(now);
        if Instant::now() >= end {
            return Ok(None);
        }
        sleep(PERIOD).await;
    }
}

async fn pods(client: &Client, subject: &Installation) -> Result<Vec<String>, kube::Error> {
    let pods: Api<Readable<Pod>> = Api::namespaced(client.clone(), &subject.namespace);
    let list = pods.list(&managers()).await?;
    Ok(list
        .iter()
        .map(ResourceExt::name_any)
        .collect())
}
