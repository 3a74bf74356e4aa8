use kube::Client;

use super::CheckFinding;
use crate::telemetry::CheckKind;

const VERSION: &str = "agentkube.io/v1alpha1";

/// The resources that must be served. The API server serves one once its CRD is established.
const RESOURCES: [&str; 5] = [
    "agents",
    "agents/status",
    "rejections",
    "tools",
    "tools/status",
];

/// Checks that our resources are served in our version. Every authenticated user may ask this.
pub(super) async fn look(client: &Client) -> CheckFinding {
    let hint = "(hint: `agentkube crds | kubectl apply --server-side -f -`)";
    let served = match client
        .list_api_group_resources(VERSION)
        .await
    {
        Ok(served) => served.resources,
        Err(kube::Error::Api(status)) if status.is_not_found() => Vec::new(),
        Err(error) => {
            return CheckFinding::error(
                CheckKind::Crds,
                format!("cannot read which resources of {VERSION} are served: {error}"),
            );
        }
    };
    let missing: Vec<_> = RESOURCES
        .into_iter()
        .filter(|wanted| {
            !served
                .iter()
                .any(|resource| resource.name == *wanted)
        })
        .collect();
    if missing.is_empty() {
        return CheckFinding::ok(CheckKind::Crds, format!("{VERSION} is served"));
    }
    CheckFinding::error(
        CheckKind::Crds,
        format!("{VERSION} is served without {} {hint}", missing.join(", ")),
    )
}
