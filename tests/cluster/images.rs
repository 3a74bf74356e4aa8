//! Every row of the matrix through every level of precedence, as the pods show it.

use std::collections::BTreeSet;

use agentkube::{
    admission::Policy,
    images::{MATRIX, Runtime, runtimes},
    mirroring::{Origin, Plan},
};
use agentkube_playground::until;
use anyhow::{Context, anyhow, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, LIMIT, Namespace, agent, images, pod, tool},
    harness::{Test, tests},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane:
        defaults_are_written_in_full,
        an_override_beats_the_mirror_and_an_agents_own_image_beats_both,
        with_a_mirror_nothing_public_remains,
        a_mirror_that_flattens_paths_is_served,
        the_managers_pull_secrets_reach_every_pod,
        written_out_defaults_follow_the_levers_only_where_a_namespace_asks_for_it,
        settings_that_are_wrong_stop_the_manager_with_all_problems,
    ]
}

/// A mirror that nothing is pulled from.
const MIRROR: &str = "registry.example.com/mirror";

/// One image of a pod, and why: `(component, image, source, variable)`.
type Decision = (String, String, String, Option<String>);

/// Creates an armed Agent of each runtime, recorded, and a custom Tool that they use, and returns
/// the Agents' pods once all run. The Tool's own image and that of the Custom Agent are below
/// `mirror`, unless all Agents have an image of their own.
pub(crate) async fn pods(
    ns: &Namespace,
    mirror: &str,
    own_image: Option<&str>,
) -> anyhow::Result<Vec<(Runtime, Value)>> {
    let custom = format!("{mirror}/team/custom:v1");
    let browser = json!({"type": "custom", "image": format!("{mirror}/team/browser:v1")});
    ns.create(&tool("browser", &browser))
        .await?;
    try_join_all(runtimes().map(async |runtime| {
        let name = runtime.as_str().to_lowercase();
        let mut spec = json!({
            "runtime": runtime.as_str(),
            "paused": false,
            "sessionRecording": {"enabled": true},
            "tools": [{"name": "browser"}],
        });
        if runtime.token().is_some() {
            spec["agentToken"] =
                json!({"secretRef": {"name": format!("{name}-token"), "key": "token"}});
        }
        let image = own_image.or(runtime
            .token()
            .is_none()
            .then_some(custom.as_str()));
        if let Some(image) = image {
            spec["image"] = json!(image);
        }
        ns.create(&agent(&name, &spec)).await?;
        ns.wait_running(&name).await?;
        let pod = ns
            .get("Pod", &name)
            .await?
            .context("the pod of a running Agent")?;
        anyhow::Ok((runtime, pod))
    }))
    .await
}

/// What admission recorded on a pod, checked against what the pod really runs.
fn decisions(pod: &Value) -> anyhow::Result<Vec<Decision>> {
    let record = pod["metadata"]["annotations"]["agentkube.io/images"]
        .as_str()
        .context("a record")?;
    let record: Vec<Value> = serde_json::from_str(record)?;
    let live = images(pod);
    ensure!(
        record.len() == live.len(),
        "{record:?} is not about {live:?}"
    );
    live.iter()
        .map(|(container, image, policy)| {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let decision = record
                .iter()
                .find(|decision| decision["container"] == json!(container))
                .with_context(|| format!("nothing is recorded for {container}"))?;
            ensure!(
                decision["image"] == json!(image),
                "{decision} is recorded, {image} runs"
            );
            let expected = if image.ends_with(":latest") {
                "Always"
            } else {
                "IfNotPresent"
            };
            ensure!(policy == expected, "{image}: {policy}");
            Ok((
                text(&decision["component"]).context("a component")?,
                image.clone(),
                text(&decision["source"]).context("a source")?,
                text(&decision["variable"]),
            ))
        })
        .collect()
}

/// Demands that every pod's images are what `expected` says of their components.
fn expect(
    pods: &[(Runtime, Value)],
    expected: impl Fn(&str) -> (String, &'static str, Option<String>),
) -> anyhow::Result<()> {
    for (runtime, pod) in pods {
        let decisions = decisions(pod)?;
        let components: Vec<_> = decisions
            .iter()
            .map(|decision| decision.0.as_str())
            .collect();
        ensure!(
            components.contains(&runtime.as_str()),
            "{runtime}: {components:?}"
        );
        ensure!(
            components.contains(&"Agentlet") && components.contains(&"SessionRecorder"),
            "{components:?}"
        );
        for (component, image, source, variable) in &decisions {
            let seen = (image.clone(), source.as_str(), variable.clone());
            let expected = expected(component);
            ensure!(
                seen == expected,
                "{runtime} {component}: {seen:?} and not {expected:?}"
            );
        }
        let env = pod["spec"]["containers"][0]["env"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let tokens: Vec<_> = env
            .iter()
            .filter(|entry| entry["valueFrom"]["secretKeyRef"].is_object())
            .filter_map(|entry| entry["name"].as_str())
            .collect();
        ensure!(
            tokens == Vec::from_iter(runtime.token()),
            "{runtime}: {tokens:?}"
        );
    }
    Ok(())
}

fn default_image(component: &str) -> Option<String> {
    MATRIX
        .iter()
        .find(|row| row.component.as_str() == component)?
        .default_image()
        .map(String::from)
}

fn variable(component: &str) -> Option<String> {
    let row = MATRIX
        .iter()
        .find(|row| row.component.as_str() == component)?;
    row.variable.map(str::to_owned)
}

/// What a Custom Agent runs in these tests.
fn custom() -> (String, &'static str, Option<String>) {
    (format!("{MIRROR}/team/custom:v1"), "resource", None)
}

async fn defaults_are_written_in_full(cluster: &Cluster) -> anyhow::Result<()> {
    let _manager = cluster.start_manager(&[]).await?;
    let pods = pods(
        &cluster
            .namespace("default-images")
            .await?,
        MIRROR,
        None,
    )
    .await?;
    expect(&pods, |component| match default_image(component) {
        Some(image) => (image, "default", None),
        None => custom(),
    })
}

async fn an_override_beats_the_mirror_and_an_agents_own_image_beats_both(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let mut settings = vec![(
        "AGENTKUBE_IMAGE_REGISTRY",
        "registry.example.com/mirror".to_owned(),
    )];
    for row in MATRIX {
        if let Some(variable) = row.variable {
            settings.push((
                variable,
                format!(
                    "quay.io/overrides/{}:latest",
                    row.component.as_str().to_lowercase()
                ),
            ));
        }
    }
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let _manager = cluster.start_manager(&settings).await?;
    let of_override = |component: &str| match variable(component) {
        Some(variable) => (
            format!("quay.io/overrides/{}:latest", component.to_lowercase()),
            "override",
            Some(variable),
        ),
        None => custom(),
    };
    expect(
        &pods(&cluster.namespace("overrides").await?, MIRROR, None).await?,
        of_override,
    )?;

    let own = "registry.example.com:5000/team/own@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    expect(
        &pods(&cluster.namespace("own-images").await?, MIRROR, Some(own)).await?,
        |component| match component {
            "Agentlet" | "SessionRecorder" => of_override(component),
            _ => (own.to_owned(), "resource", None),
        },
    )
}

async fn with_a_mirror_nothing_public_remains(cluster: &Cluster) -> anyhow::Result<()> {
    let _manager = cluster
        .start_manager(&[("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com/mirror/")])
        .await?;
    let ns = cluster.namespace("mirror").await?;
    let pods = pods(&ns, MIRROR, None).await?;
    expect(&pods, |component| match default_image(component) {
        Some(image) => {
            let image = image.replace("docker.io/", "registry.example.com/mirror/");
            (image, "mirror", Some("AGENTKUBE_IMAGE_REGISTRY".to_owned()))
        }
        None => custom(),
    })?;
    ns.wait("Tool", "browser", "to run", |tool| {
        tool["status"]["phase"] == "Running"
    })
    .await?;
    let planned = planned()?;
    for pod in ns
        .api("Pod")
        .list(&kube::api::ListParams::default())
        .await?
    {
        for (container, image, _) in images(&serde_json::to_value(&pod)?) {
            ensure!(planned.contains(&image), "{container} runs {image}");
        }
    }
    Ok(())
}

/// What a plan copies to the mirror. `mirror.rs` has a plan run by a real tool.
fn planned() -> anyhow::Result<BTreeSet<String>> {
    let settings = [("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com/mirror")];
    let settings = Policy::parse(settings).map_err(|problems| anyhow!("{problems:?}"))?;
    let own = [
        "ghcr.io/team/browser:v1".parse()?,
        "team/custom:v1".parse()?,
    ];
    let plan = Plan::new(&settings.images, &own, &Origin::default())?;
    Ok(plan
        .transfers
        .iter()
        .map(|transfer| transfer.to.to_string())
        .collect())
}

async fn a_mirror_that_flattens_paths_is_served(cluster: &Cluster) -> anyhow::Result<()> {
    let settings = [
        ("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com:5000/flat"),
        ("AGENTKUBE_MIRROR_LAYOUT", "name"),
        ("AGENTKUBE_IMAGE_CODEX", "  "),
    ];
    let _manager = cluster.start_manager(&settings).await?;
    expect(
        &pods(&cluster.namespace("flat").await?, MIRROR, None).await?,
        |component| match default_image(component) {
            Some(image) => {
                let image =
                    image.replace("docker.io/adaptivelive/", "registry.example.com:5000/flat/");
                (image, "mirror", Some("AGENTKUBE_IMAGE_REGISTRY".to_owned()))
            }
            None => custom(),
        },
    )
}

async fn the_managers_pull_secrets_reach_every_pod(cluster: &Cluster) -> anyhow::Result<()> {
    let _manager = cluster
        .start_manager(&[("AGENTKUBE_PULL_SECRETS", "mirror, backup")])
        .await?;
    let ns = cluster
        .namespace("pull-secrets")
        .await?;
    ns.create(&agent(
        "plain",
        &json!({"runtime": "Codex", "paused": false}),
    ))
    .await?;
    let own = json!({"runtime": "Codex", "paused": false, "imagePullSecrets": [{"name": "own"}]});
    ns.create(&agent("own", &own)).await?;
    for (name, expected) in [
        ("plain", json!([{"name": "mirror"}, {"name": "backup"}])),
        ("own", json!([{"name": "own"}])),
    ] {
        let pod = ns
            .wait("Pod", name, "to exist", |_| true)
            .await?;
        ensure!(
            pod["spec"]["imagePullSecrets"] == expected,
            "{name}: {}",
            pod["spec"]["imagePullSecrets"]
        );
    }
    Ok(())
}

async fn settings_that_are_wrong_stop_the_manager_with_all_problems(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let options = cluster.manager_options(&[
        ("AGENTKUBE_IMAGE_CODXE", "quay.io/team/codex:v1"),
        ("AGENTKUBE_IMAGE_CUSTOM", "quay.io/team/custom:v1"),
        ("AGENTKUBE_IMAGE_AIDER", "https://quay.io/team/aider:v1"),
        ("AGENTKUBE_IMAGE_REGISTRY", "mirror"),
        ("AGENTKUBE_MIRROR_LAYOUT", "flat"),
        ("AGENTKUBE_PULL_SECRET", "mirror"),
    ]);
    let error = agentkube_playground::Manager::start(&cluster.control_plane, options)
        .await
        .err()
        .context("the manager starts")?;
    insta::assert_snapshot!("wrong_settings", format!("{error:#}"));
    Ok(())
}

async fn written_out_defaults_follow_the_levers_only_where_a_namespace_asks_for_it(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let settings = [
        ("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com/mirror"),
        ("AGENTKUBE_IMAGE_GOOSE", "quay.io/team/goose:v9"),
    ];
    let _manager = cluster.start_manager(&settings).await?;
    let plain = cluster.namespace("written-out").await?;
    let asking = cluster.namespace("rewritten").await?;
    let label = json!({"metadata": {"labels": {"agentkube.io/rewrite-defaults": "enabled"}}});
    cluster
        .label_namespace(&asking, &label)
        .await?;

    let spec = json!({
        "containers": [
            {"name": "codex", "image": "adaptivelive/codex:v0.2.0"},
            {"name": "goose", "image": "docker.io/adaptivelive/goose:v0.3.0"},
            {"name": "web", "image": "nginx:1.27"},
        ],
        "initContainers": [{"name": "agentlet", "image": "agentkube.invalid/agentlet"}],
    });
    let written = |pod: &Value| {
        images(pod)
            .into_iter()
            .map(|(_, image, _)| image)
            .collect::<Vec<_>>()
    };
    let created = plain
        .create(&pod("job", &json!({}), &spec))
        .await?;
    let agentlet = "registry.example.com/mirror/adaptivelive/agentkube-agentlet:v0.3.0";
    ensure!(
        written(&created)
            == [
                "adaptivelive/codex:v0.2.0",
                "docker.io/adaptivelive/goose:v0.3.0",
                "nginx:1.27",
                agentlet
            ],
        "{created:#}"
    );
    // The API server follows a namespace's labels a moment later.
    let created = until("the namespace's label to be followed", LIMIT, async || {
        let created = asking
            .create(&pod("job", &json!({}), &spec))
            .await?;
        if written(&created)[0] != "adaptivelive/codex:v0.2.0" {
            return Ok(Some(created));
        }
        asking.delete("Pod", "job").await?;
        asking.wait_gone("Pod", "job").await?;
        Ok(None)
    })
    .await?;
    ensure!(
        written(&created)
            == [
                "registry.example.com/mirror/adaptivelive/codex:v0.2.0",
                "quay.io/team/goose:v9",
                "nginx:1.27",
                agentlet
            ],
        "{created:#}"
    );
    let record = created["metadata"]["annotations"]["agentkube.io/images"]
        .as_str()
        .context("a record")?;
    let record: Vec<Value> = serde_json::from_str(record)?;
    ensure!(record.len() == 3, "{record:?}");

    // An Agent's own image stays verbatim even when it equals a default.
    let own = json!({"runtime": "Custom", "image": "docker.io/adaptivelive/codex:v0.3.0", "paused": false});
    asking
        .create(&agent("own", &own))
        .await?;
    asking.wait_running("own").await?;
    let own = asking
        .get("Pod", "own")
        .await?
        .context("the pod")?;
    ensure!(
        written(&own).contains(&"docker.io/adaptivelive/codex:v0.3.0".to_owned()),
        "{own:#}"
    );
    Ok(())
}
