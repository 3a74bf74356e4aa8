//! `agentkube images` and the pods of a real API server: what a mirror that a plan filled holds, and
//! who uses which image.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Output,
};

use agentkube::images::rows;
use agentkube_playground::{MirrorTools, Registry, SmallImage};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    cluster::{Cluster, Namespace, agent, images, tool},
    harness::{Test, tests},
    images::pods,
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane:
        a_mirror_that_a_plan_filled_holds_every_image_of_every_pod,
        the_list_of_a_cluster_counts_who_uses_each_image,
    ]
}

const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// The images that only an Agent and a Tool name, as [`pods`] has them.
const OWN: [&str; 2] = ["team/browser", "team/custom"];

async fn a_mirror_that_a_plan_filled_holds_every_image_of_every_pod(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let Some(tools) = tools().await? else {
        return Ok(());
    };
    let hub = hub(&tools).await?;
    let registry = Registry::start(&tools.registry).await?;
    let mirror = format!("{}/exo", registry.address());
    let setting = format!("AGENTKUBE_IMAGE_REGISTRY={mirror}");

    fill(cluster, &tools, &hub, &mirror).await?;
    let _manager = cluster
        .start_manager(&[("AGENTKUBE_IMAGE_REGISTRY", &mirror)])
        .await?;
    let ns = cluster.namespace("live-mirror").await?;
    pods(&ns, &mirror, None).await?;
    ns.wait("Tool", "browser", "to run", |tool| {
        tool["status"]["phase"] == "Running"
    })
    .await?;
    let run = images_of_pods(&ns).await?;
    let rows = rows().filter(|row| row.repository.is_some());
    // Every row but the manager's.
    let expected = rows.count() - 1 + OWN.len();
    ensure!(run.len() == expected, "{run:?}");

    // Whatever pods run is asked for, whether the configuration names it or not.
    let mut check = vec!["check", "--insecure-registry", "--output", "json"];
    check.extend(
        PLATFORMS
            .iter()
            .flat_map(|it| ["--platform", it]),
    );
    check.extend(
        run.iter()
            .flat_map(|image| ["--custom", image]),
    );
    check.extend(["--set", &setting]);
    let (status, found, said) = checked(cluster, &check).await?;
    ensure!(status == Some(0), "{said}");
    expect_present(&run, &found)?;

    // The same from what the cluster itself says of its manager, its Agents and its Tools.
    set_on_deployment(cluster, &setting).await?;
    let check = [
        "check",
        "--insecure-registry",
        "--output",
        "json",
        "--from-cluster",
    ];
    let from_cluster = checked(cluster, &check).await;
    set_on_deployment(cluster, "AGENTKUBE_IMAGE_REGISTRY-").await?;
    // Agents of other tests may name images that are nowhere.
    let (_, found, _) = from_cluster?;
    expect_present(&run, &found)?;

    let (repository, image) = ("exo/adaptivelive/goose", small_image("adaptivelive/goose"));
    registry.delete(repository, &image.digest())?;
    let check = [
        "check",
        "--insecure-registry",
        "--output",
        "json",
        "--set",
        &setting,
    ];
    let (status, found, said) = checked(cluster, &check).await?;
    ensure!(status == Some(1), "{status:?}: {said}");
    let goose = format!("{}/{repository}:v0.3.0", registry.address());
    ensure!(run.contains(&goose), "{run:?}");
    let gone: Vec<_> = found
        .iter()
        .filter(|(_, status)| *status != "present")
        .collect();
    ensure!(gone == [(&goose, &"missing".to_owned())], "{gone:?}");
    ensure!(
        said == format!("error: `{goose}`: there is no such image\n"),
        "{said}"
    );
    Ok(())
}

async fn the_list_of_a_cluster_counts_who_uses_each_image(cluster: &Cluster) -> anyhow::Result<()> {
    const CODEX: &str = "quay.io/counted/codex:v9";
    const OWN: &str = "quay.io/counted/own:v1";
    const TOOL: &str = "quay.io/counted/tool:v1";
    let setting = ("AGENTKUBE_IMAGE_CODEX", CODEX);
    let _manager = cluster
        .start_manager(&[setting])
        .await?;
    set_on_deployment(cluster, &format!("{}={}", setting.0, setting.1)).await?;
    let result = async {
        // Other tests have left Agents, which count, too.
        let before = list(cluster).await?;
        ensure!(before[CODEX]["component"] == "Codex", "{before:?}");
        ensure!(before[CODEX]["source"] == "override", "{before:?}");
        ensure!(before[CODEX]["variable"] == setting.0, "{before:?}");
        ensure!(before[CODEX]["pods"] == 0, "{before:?}");

        let (one, other) = (
            cluster.namespace("counted").await?,
            cluster.namespace("counted").await?,
        );
        one.create(&tool("browser", &json!({"type": "custom", "image": TOOL})))
            .await?;
        let armed = json!({"runtime": "Codex", "paused": false});
        let spread = (0..4).map(|number| format!("agent-{number}"));
        let spread: Vec<_> = spread.collect();
        for name in &spread {
            one.create(&agent(name, &armed)).await?;
        }
        other.create(&agent("paused", &json!({"runtime": "Codex"})))
            .await?;
        let own = json!({"runtime": "Codex", "paused": false, "image": OWN, "tools": [{"name": "browser"}]});
        one.create(&agent("own", &own)).await?;
        for name in spread.iter().map(String::as_str).chain(["own"]) {
            one.wait_running(name).await?;
        }
        one.wait("Tool", "browser", "to run", |tool| tool["status"]["phase"] == "Running")
            .await?;

        let mut nodes = BTreeSet::new();
        for name in &spread {
            let pod = one
                .get("Pod", name)
                .await?
                .context("the pod of a running Agent")?;
            nodes.insert(pod["spec"]["nodeName"].to_string());
        }
        let after = list(cluster).await?;
        let agents = |list: &Value| list[CODEX]["agents"].as_u64();
        ensure!(
            agents(&after) == agents(&before).map(|count| count + 5),
            "{before} {after}"
        );
        ensure!(after[CODEX]["pods"] == spread.len(), "{:?}", after[CODEX]);
        ensure!(after[CODEX]["nodes"] == nodes.len(), "{:?} {nodes:?}", after[CODEX]);
        for (image, component, agents) in [(OWN, "Codex", 1), (TOOL, "Tool", 0)] {
            let entry = &after[image];
            ensure!(entry["component"] == component, "{entry}");
            ensure!(entry["source"] == "resource", "{entry}");
            let counts = ["agents", "pods", "nodes"].map(|count| &entry[count]);
            ensure!(counts == [agents, 1, 1], "{entry}");
        }
        Ok(())
    }
    .await;
    set_on_deployment(cluster, "AGENTKUBE_IMAGE_CODEX-").await?;
    result
}

/// What is needed besides a control plane, or nothing where it cannot be had.
async fn tools() -> anyhow::Result<Option<MirrorTools>> {
    match MirrorTools::locate().await {
        Ok(tools) => Ok(Some(tools)),
        Err(error) if std::env::var("CI").is_ok_and(|value| value == "true") => {
            Err(error.context("under CI=true the mirror may not be left out"))
        }
        Err(error) => {
            eprintln!("\nSKIPPED: the mirror needs its tools\n{error:#}\n");
            Ok(None)
        }
    }
}

/// A registry with every default image, as Docker Hub has them, and with the two own ones.
async fn hub(tools: &MirrorTools) -> anyhow::Result<Registry> {
    let registry = Registry::start(&tools.registry).await?;
    let defaults = rows().filter_map(|row| Some((row.repository?, row.tag)));
    for (repository, tag) in defaults.chain(OWN.map(|repository| (repository, "v1"))) {
        registry.push(repository, tag, &small_image(repository))?;
    }
    Ok(registry)
}

fn small_image(repository: &str) -> SmallImage {
    SmallImage::new(repository, &PLATFORMS)
}

/// Plans for a mirror, and has regsync do it.
async fn fill(
    cluster: &Cluster,
    tools: &MirrorTools,
    hub: &Registry,
    mirror: &str,
) -> anyhow::Result<()> {
    let own = OWN.map(|repository| format!("{}/{repository}:v1", hub.address()));
    let mut plan = vec!["plan", "--insecure-registry", "--format", "regsync"];
    plan.extend(["--from", hub.address(), "--to", mirror]);
    plan.extend(
        own.iter()
            .flat_map(|image| ["--custom", image]),
    );
    let plan = agentkube_images(cluster, &plan).await?;
    ensure!(plan.status.success(), "{plan:?}");
    tools
        .run(&String::from_utf8(plan.stdout)?)
        .await
}

/// Runs `agentkube images` as somebody with the rights of an administrator.
async fn agentkube_images(cluster: &Cluster, arguments: &[&str]) -> anyhow::Result<Output> {
    Ok(Command::new(env!("CARGO_BIN_EXE_agentkube"))
        .arg("images")
        .args(arguments)
        .env_clear()
        .env("KUBECONFIG", cluster.control_plane.admin_kubeconfig())
        .output()
        .await?)
}

/// The exit status of a check, the status of each image, and what was said.
async fn checked(
    cluster: &Cluster,
    arguments: &[&str],
) -> anyhow::Result<(Option<i32>, BTreeMap<String, String>, String)> {
    let output = agentkube_images(cluster, arguments).await?;
    let said = String::from_utf8(output.stderr)?;
    let report: Value = serde_json::from_slice(&output.stdout).context(said.clone())?;
    let found = report["images"]
        .as_array()
        .context("images")?
        .iter()
        .filter_map(|image| {
            let text = |member: &str| {
                image[member]
                    .as_str()
                    .map(str::to_owned)
            };
            Some((text("image")?, text("status")?))
        })
        .collect();
    Ok((output.status.code(), found, said))
}

/// The list of a cluster's images, by image.
async fn list(cluster: &Cluster) -> anyhow::Result<Value> {
    let output = agentkube_images(cluster, &["--from-cluster", "--output", "json"]).await?;
    ensure!(output.status.success(), "{output:?}");
    let entries: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    Ok(entries
        .into_iter()
        .filter_map(|entry| Some((entry["image"].as_str()?.to_owned(), entry)))
        .collect())
}

/// Sets a variable (`NAME=VALUE`) on the manager's Deployment, or takes it off (`NAME-`). The manager of these
/// tests is a process beside the cluster, and the Deployment what a cluster is read by.
async fn set_on_deployment(cluster: &Cluster, variable: &str) -> anyhow::Result<()> {
    let arguments = [
        "set",
        "env",
        "deployment/agentkube-manager",
        "--namespace=agentkube-system",
    ];
    let said = cluster
        .kubectl(
            &[&arguments[..], &["--containers=manager", variable]].concat(),
            "",
        )
        .await?;
    ensure!(said.success, "{}", said.stderr);
    Ok(())
}

fn expect_present(run: &BTreeSet<String>, found: &BTreeMap<String, String>) -> anyhow::Result<()> {
    for image in run {
        let status = found.get(image).map(String::as_str);
        ensure!(status == Some("present"), "{image} in {found:?}");
    }
    Ok(())
}

/// Every image of every pod of a namespace.
async fn images_of_pods(ns: &Namespace) -> anyhow::Result<BTreeSet<String>> {
    let pods = ns.list("Pod", "").await?;
    Ok(pods
        .iter()
        .flat_map(images)
        .map(|(_, image, _)| image)
        .collect())
}
