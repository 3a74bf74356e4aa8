//! What an admin allows, on a real API server.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, agent, images},
    harness::{Test, tests},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane:
        images_outside_the_allowed_registries_are_forbidden,
        with_warnings_only_a_breach_is_admitted_and_said,
    ]
}

const ALLOWED: (&str, &str) = (
    "AGENTKUBE_ALLOWED_REGISTRIES",
    "registry.example.com/mirror",
);
const MIRROR: (&str, &str) = ("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com/mirror");

fn outside() -> Value {
    agent(
        "outside",
        &json!({"runtime": "Custom", "image": "registry.example.com.evil.org/mirror/agent:v1"}),
    )
}

async fn images_outside_the_allowed_registries_are_forbidden(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let _manager = cluster
        .start_manager(&[ALLOWED, MIRROR])
        .await?;
    let ns = cluster.namespace("allowed").await?;
    let status = ns.refused(&outside()).await?;
    ensure!(
        status.code == 403 && status.reason == "Forbidden",
        "{status:?}"
    );
    let cause = status
        .details
        .as_ref()
        .and_then(|details| details.causes.first())
        .context("a cause")?;
    ensure!(
        cause.reason == "RegistryNotAllowed" && cause.field == "spec.image",
        "{cause:?}"
    );
    let said = cluster
        .kubectl(
            &["apply", "--namespace", &ns.name, "--filename", "-"],
            &outside().to_string(),
        )
        .await?;
    ensure!(
        said.stderr.contains("(Forbidden)")
            && said
                .stderr
                .contains("is outside the allowed registries"),
        "{said:?}"
    );

    // What is allowed runs, and its image cannot be changed in place to one that is not.
    ns.create(&agent(
        "inside",
        &json!({"runtime": "Codex", "paused": false}),
    ))
    .await?;
    ns.wait_running("inside").await?;
    let image = |image: &str| json!({"spec": {"containers": [{"name": "agent", "image": image}]}});
    let pods = ns.api("Pod");
    let patch = async |body: &Value| {
        let params = kube::api::PatchParams::default();
        pods.patch("inside", &params, &kube::api::Patch::Strategic(body))
            .await
    };
    match patch(&image("docker.io/evil/agent:v1")).await {
        Err(kube::Error::Api(status)) => {
            ensure!(
                status.code == 403
                    && status
                        .message
                        .contains("chosen by the pod itself"),
                "{}",
                status.message
            );
        }
        other => anyhow::bail!("not refused: {other:?}"),
    }
    patch(&image("registry.example.com/mirror/other:v2")).await?;
    Ok(())
}

async fn with_warnings_only_a_breach_is_admitted_and_said(cluster: &Cluster) -> anyhow::Result<()> {
    let manager = cluster
        .start_manager(&[ALLOWED, MIRROR, ("AGENTKUBE_ENFORCEMENT", "warn")])
        .await?;
    let ns = cluster.namespace("warned").await?;
    let said = cluster
        .kubectl(
            &["apply", "--namespace", &ns.name, "--filename", "-"],
            &outside().to_string(),
        )
        .await?;
    ensure!(
        said.success
            && said
                .stderr
                .contains("Warning: spec.image: Forbidden"),
        "{said:?}"
    );
    ns.patch("Agent", "outside", &json!({"spec": {"paused": false}}))
        .await?;
    ns.wait_running("outside").await?;
    let pod = ns
        .get("Pod", "outside")
        .await?
        .context("the pod")?;
    ensure!(
        images(&pod)[0].1 == "registry.example.com.evil.org/mirror/agent:v1",
        "{pod:#}"
    );
    let counted = r#"decision="warn",reason="RegistryNotAllowed""#;
    ensure!(
        manager
            .metrics()
            .await?
            .contains(counted),
        "it is not counted"
    );
    let status = ns
        .refused(&agent("custom", &json!({"runtime": "Custom"})))
        .await?;
    ensure!(
        status.code == 422,
        "what is no policy stays a refusal: {status:?}"
    );
    Ok(())
}
