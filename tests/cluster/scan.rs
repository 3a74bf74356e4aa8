//! `agentkube audit scan` on a real API server.

use std::{path::Path, process::Output};

use agentkube_playground::{report_crd, until};
use anyhow::{Context, ensure};
use futures::future::try_join_all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};

use crate::{
    authority::{TOKEN_FIELD, with_token},
    cluster::{Cluster, LIMIT, Namespace, agent, pod, tool},
    faults::{deregister, register, wait_unregistered},
    harness::{Test, tests},
    lending::ask_no_policy,
    users::{User, may, may_one, writes_agents},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane:
        a_cluster_that_is_as_it_should_be_has_no_findings,
        every_kind_of_finding_is_told_and_taken_as_a_report,
        a_long_list_is_read_page_by_page,
        the_documented_role_is_enough_and_what_is_missing_is_said,
        what_was_named_while_nobody_asked_is_found,
        what_a_user_has_no_right_to_is_told,
    ]
}

const DEPLOYMENT: &str = "deployment/agentkube-manager";
const NAMESPACE: &str = "agentkube-system";

/// Runs a scan with the rights that a kubeconfig gives.
async fn scan_as(kubeconfig: &Path, arguments: &[&str]) -> anyhow::Result<Output> {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_agentkube"))
        .args(["audit", "scan"])
        .args(arguments)
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .kill_on_drop(true)
        .output()
        .await?;
    Ok(output)
}

/// Scans a namespace as the admin.
async fn scan(cluster: &Cluster, ns: &Namespace, arguments: &[&str]) -> anyhow::Result<Output> {
    let arguments = [&["--namespace", &ns.name], arguments].concat();
    scan_as(cluster.control_plane.admin_kubeconfig(), &arguments).await
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// What a scan found, in its order.
fn findings(output: &Output) -> anyhow::Result<Vec<Value>> {
    serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))
}

/// Changes the settings in the manager's Deployment, which is all that a scan reads of the manager.
async fn set(cluster: &Cluster, settings: &[&str]) -> anyhow::Result<()> {
    let arguments = [
        &["set", "env", DEPLOYMENT, "--namespace", NAMESPACE],
        settings,
    ]
    .concat();
    let said = cluster.kubectl(&arguments, "").await?;
    ensure!(said.success, "{said:?}");
    Ok(())
}

fn armed(runtime: &str) -> Value {
    json!({"runtime": runtime, "paused": false})
}

async fn a_cluster_that_is_as_it_should_be_has_no_findings(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let _manager = cluster.start_manager(&[]).await?;
    let ns = cluster.namespace("healthy").await?;
    ns.create(&tool(
        "browser",
        &json!({"type": "custom", "image": "registry.example.com/team/browser:v1"}),
    ))
    .await?;
    let mut spec = armed("Codex");
    spec["sessionRecording"] = json!({"enabled": true});
    spec["tools"] = json!([{"name": "browser"}]);
    ns.create(&agent("bot", &spec)).await?;
    ns.create(&agent("resting", &json!({"runtime": "Aider"})))
        .await?;
    let running = |image: &str| json!({"containers": [{"name": "c", "image": image}]});
    for object in [
        pod("ordinary", &json!({}), &running("nginx:1.27")),
        pod("row", &json!({}), &running("agentkube.invalid/goose")),
        pod(
            "beside",
            &json!({"agentkube.io/agent": "bot"}),
            &running("agentkube.invalid/codex"),
        ),
    ] {
        ns.create(&object).await?;
    }
    ns.wait_running("bot").await?;
    ns.wait("Tool", "browser", "to run", |tool| {
        tool["status"]["phase"] == "Running"
    })
    .await?;

    let (status, stdout, stderr) = said(&scan(cluster, &ns, &[]).await?);
    ensure!(
        status == Some(0) && stderr.is_empty(),
        "{status:?}: {stdout}{stderr}"
    );
    insta::assert_snapshot!(stdout, @"no findings in 2 Agents, 1 Tool and 5 pods");
    let (status, stdout, stderr) = said(&scan(cluster, &ns, &["-o", "openreports"]).await?);
    ensure!(
        status == Some(0) && stdout.is_empty() && stderr.starts_with("no findings in"),
        "{status:?}: {stdout}{stderr}"
    );
    // A name that was misspelt is no good news.
    let admin = cluster.control_plane.admin_kubeconfig();
    let (status, _, stderr) = said(&scan_as(admin, &["--namespace", "misspelt"]).await?);
    ensure!(
        status == Some(0) && stderr.contains("the namespace `misspelt` is empty"),
        "{status:?}: {stderr}"
    );
    // A setting that is not made yet, on top of those that are.
    let tried = ["--set", "AGENTKUBE_ALLOWED_REGISTRIES=registry.example.com"];
    let (status, stdout, _) = said(&scan(cluster, &ns, &tried).await?);
    ensure!(
        status == Some(1) && stdout.contains("RegistryNotAllowed"),
        "{status:?}: {stdout}"
    );
    Ok(())
}

/// Makes one of everything that can be found.
async fn make_findings(cluster: &Cluster, ns: &Namespace) -> anyhow::Result<()> {
    let own = |image: &str| json!({"runtime": "Custom", "paused": false, "image": image});
    for (name, spec) in [
        ("behind", armed("Codex")),
        ("outside", own("quay.io/team/agent:v1")),
        ("steady", armed("Aider")),
        ("swapped", armed("Goose")),
    ] {
        ns.create(&agent(name, &spec)).await?;
    }
    try_join_all(["behind", "outside", "steady", "swapped"].map(|name| ns.wait_running(name)))
        .await?;
    let image = "agent=registry.example.com/mirror/other:v2";
    let set_image = [
        "set",
        "image",
        "--namespace",
        &ns.name,
        "pod/swapped",
        image,
    ];
    let swapped = cluster.kubectl(&set_image, "").await?;
    ensure!(swapped.success, "{swapped:?}");

    deregister(&cluster.client()).await?;
    wait_unregistered(ns).await?;
    ns.delete("Pod", "probe").await?;
    let broken = json!({"runtime": "Codex", "image": "https://quay.io/team/codex:v1"});
    ns.create(&agent("bad-image", &broken))
        .await?;
    let broken = json!({"type": "postgres", "config": {"credentialsRef": {"name": "My_Secret", "key": "dsn"}}});
    ns.create(&tool("bad-secret", &broken))
        .await?;
    for (name, labels, image) in [
        (
            "posing",
            json!({"agentkube.io/agent": "steady"}),
            "nginx:1.27",
        ),
        ("waiting", json!({}), "agentkube.invalid/codex"),
    ] {
        let spec = json!({"containers": [{"name": "c", "image": image}]});
        ns.create(&pod(name, &labels, &spec))
            .await?;
    }
    register(cluster).await
}

async fn every_kind_of_finding_is_told_and_taken_as_a_report(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let _manager = cluster.start_manager(&[]).await?;
    let ns = cluster.namespace("found").await?;
    make_findings(cluster, &ns).await?;
    set(
        cluster,
        &[
            "AGENTKUBE_IMAGE_CODEX=registry.example.com/codex:v9",
            "AGENTKUBE_ALLOWED_REGISTRIES=docker.io,registry.example.com",
        ],
    )
    .await?;
    let told = tell(cluster, &ns).await;
    let reported = report(cluster, &ns).await;
    set(
        cluster,
        &["AGENTKUBE_IMAGE_CODEX-", "AGENTKUBE_ALLOWED_REGISTRIES-"],
    )
    .await?;
    // Other tests count the definitions.
    let crds = Api::<CustomResourceDefinition>::all(cluster.client());
    let _ = crds
        .delete("reports.openreports.io", &DeleteParams::default())
        .await;
    told.and(reported)
}

/// The table, JSON and CSV.
async fn tell(cluster: &Cluster, ns: &Namespace) -> anyhow::Result<()> {
    let (status, table, stderr) = said(&scan(cluster, ns, &[]).await?);
    ensure!(
        status == Some(1) && stderr.is_empty(),
        "{status:?}: {table}{stderr}"
    );
    // The namespace's number, and so the width of its column, is another in every run.
    let table = table.replace(&ns.name, "found");
    let lines: Vec<_> = table
        .lines()
        .map(|line| {
            let words: Vec<_> = line
                .split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect();
            words.join("  ")
        })
        .collect();
    insta::assert_snapshot!("scan_table", lines.join("\n"));

    let json = scan(cluster, ns, &["-o", "json"]).await?;
    ensure!(json.status.code() == Some(1), "{json:?}");
    let found = findings(&json)?;
    let words: Vec<_> = found
        .iter()
        .map(|finding| {
            let text = |member: &str| finding[member].as_str().unwrap_or("-");
            format!(
                "{} {} {} {}",
                text("category"),
                text("reason"),
                text("kind"),
                text("name")
            )
        })
        .collect();
    let expected = [
        "Refused RegistryNotAllowed Agent outside",
        "Refused RegistryNotAllowed Pod outside",
        "Differs - Pod swapped",
        "EnteredUnjudged InvalidImage Agent bad-image",
        "EnteredUnjudged InvalidSecretRef Tool bad-secret",
        "EnteredUnjudged - Pod posing",
        "Placeholder - Pod waiting",
        "Outdated - Pod behind",
    ];
    ensure!(words == expected, "{words:#?}");

    let (_, csv, stderr) = said(&scan(cluster, ns, &["-o", "csv"]).await?);
    ensure!(csv.lines().count() == 1 + expected.len(), "{csv}");
    ensure!(
        stderr.starts_with("8 findings in 5 Agents, 1 Tool and 6 pods"),
        "{stderr}"
    );

    // Among all namespaces they are the same.
    let all = scan_as(cluster.control_plane.admin_kubeconfig(), &["-o", "json"]).await?;
    let of_ours: Vec<_> = findings(&all)?
        .into_iter()
        .filter(|finding| finding["namespace"] == ns.name)
        .collect();
    ensure!(of_ours == found, "{of_ours:#?}");
    Ok(())
}

/// The reports, as the API server takes them by the definition of the project that published it.
async fn report(cluster: &Cluster, ns: &Namespace) -> anyhow::Result<()> {
    let said = cluster
        .kubectl(&["apply", "--filename", "-"], &report_crd().await?)
        .await?;
    ensure!(said.success, "{said:?}");
    let established = [
        "wait",
        "--for=condition=established",
        "--timeout=60s",
        "crd/reports.openreports.io",
    ];
    let said = cluster
        .kubectl(&established, "")
        .await?;
    ensure!(said.success, "{said:?}");

    let found = findings(&scan(cluster, ns, &["-o", "json"]).await?)?;
    let reports = scan(cluster, ns, &["-o", "openreports"]).await?;
    let text = String::from_utf8(reports.stdout)?;
    let server_side = ["apply", "--server-side", "--filename", "-"];
    let said = cluster
        .kubectl(&server_side, &text)
        .await?;
    ensure!(said.success && said.stderr.is_empty(), "{said:?}");
    // Once more, as a scan that is repeated: nothing is new.
    let again = cluster
        .kubectl(&server_side, &text)
        .await?;
    ensure!(again.success && again.stdout == said.stdout, "{again:?}");

    let list = [
        "get",
        "reports.openreports.io",
        "--namespace",
        &ns.name,
        "--selector",
        "app.kubernetes.io/managed-by=agentkube",
        "--output",
        "json",
    ];
    let said = cluster.kubectl(&list, "").await?;
    ensure!(said.success, "{said:?}");
    let stored: Value = serde_json::from_str(&said.stdout)?;
    let stored = stored["items"]
        .as_array()
        .context("a list")?;
    ensure!(stored.len() == 8, "{stored:#?}");
    for report in stored {
        expect_report(report, ns, &found).await?;
    }
    Ok(())
}

/// Demands that a report is about a live object, and says what was found on it.
async fn expect_report(report: &Value, ns: &Namespace, found: &[Value]) -> anyhow::Result<()> {
    let scope = &report["scope"];
    let (kind, name) = (
        scope["kind"]
            .as_str()
            .context("a kind")?,
        scope["name"]
            .as_str()
            .context("a name")?,
    );
    let object = ns
        .get(kind, name)
        .await?
        .with_context(|| format!("{kind} {name}"))?;
    let uid = object["metadata"]["uid"]
        .as_str()
        .context("a uid")?;
    let metadata = &report["metadata"];
    ensure!(
        metadata["name"] == format!("agentkube-{uid}")
            && metadata["ownerReferences"][0]["uid"] == uid
            && scope["uid"] == uid
            && report["source"] == "agentkube",
        "{report:#}"
    );
    let results = report["results"]
        .as_array()
        .context("results")?;
    let ours: Vec<_> = found
        .iter()
        .filter(|finding| finding["uid"] == uid)
        .collect();
    ensure!(
        results.len() == ours.len() && !ours.is_empty(),
        "{report:#}"
    );
    for (result, finding) in results.iter().zip(ours) {
        ensure!(
            result["policy"] == finding["category"]
                && result["rule"] == finding["reason"]
                && result["severity"] == finding["severity"]
                && result["message"] == finding["message"]
                && result["properties"]["field"] == finding["field"]
                && result["timestamp"]["seconds"].is_i64(),
            "{result:#} is not {finding:#}"
        );
    }
    let counted = |word: &str| {
        results
            .iter()
            .filter(|result| result["result"] == word)
            .count()
    };
    ensure!(
        report["summary"]["fail"] == counted("fail")
            && report["summary"]["warn"] == counted("warn"),
        "{report:#}"
    );
    Ok(())
}

async fn a_long_list_is_read_page_by_page(cluster: &Cluster) -> anyhow::Result<()> {
    let manager = cluster.start_manager(&[]).await?;
    let ns = cluster.namespace("pages").await?;
    let spec = json!({"runtime": "Codex", "image": "quay.io/team/codex:v1"});
    let container = json!({"containers": [{"name": "c", "image": "agentkube.invalid/codex"}]});
    for number in 0..7 {
        ns.create(&agent(&format!("agent-{number}"), &spec))
            .await?;
        ns.create(&pod(&format!("pod-{number}"), &json!({}), &container))
            .await?;
    }
    let settings = [
        "-o",
        "json",
        "--set",
        "AGENTKUBE_ALLOWED_REGISTRIES=docker.io",
        "--set",
        "AGENTKUBE_IMAGE_CODEX=docker.io/team/codex:v9",
    ];
    let whole = scan(cluster, &ns, &settings).await?;
    let mut paged = Vec::from(settings);
    paged.extend(["--page-size", "2"]);
    let paged = scan(cluster, &ns, &paged).await?;
    ensure!(findings(&whole)?.len() == 14, "{whole:?}");
    ensure!(
        paged.stdout == whole.stdout && paged.stderr == whole.stderr,
        "{paged:?}"
    );
    drop(manager);
    Ok(())
}

/// The role of `docs/auditing-commands.md`.
fn documented_role() -> anyhow::Result<String> {
    let docs = include_str!("../../docs/auditing-commands.md");
    let start = docs
        .find("apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n")
        .context("the page has a ClusterRole")?;
    let (_, role) = docs.split_at(start);
    let (role, _) = role
        .split_once("```")
        .context("its block ends")?;
    Ok(role.to_owned())
}

async fn the_documented_role_is_enough_and_what_is_missing_is_said(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("auditor").await?;
    let account = ["--namespace", &ns.name];
    let kubectl = async |arguments: &[&str], input: &str| {
        let said = cluster
            .kubectl(arguments, input)
            .await?;
        ensure!(said.success, "{said:?}");
        Ok(said.stdout)
    };
    kubectl(
        &[&["create", "serviceaccount", "auditor"][..], &account].concat(),
        "",
    )
    .await?;
    let token = kubectl(
        &[&["create", "token", "auditor"][..], &account].concat(),
        "",
    )
    .await?;
    let kubeconfig = cluster
        .control_plane
        .kubeconfig_for("auditor", token.trim())?;

    let without = scan_as(&kubeconfig, &[]).await?;
    let listing = scan_as(&kubeconfig, &["--env-file", "/dev/null"]).await?;
    ensure!(
        without.status.code() == Some(2) && listing.status.code() == Some(2),
        "{without:?} {listing:?}"
    );
    let words = format!("{}{}", said(&without).2, said(&listing).2);
    insta::assert_snapshot!("scan_forbidden", words.replace(&ns.name, "auditor-0"));

    kubectl(&["apply", "--filename", "-"], &documented_role()?).await?;
    let subject = format!("--serviceaccount={}:auditor", ns.name);
    let binding = [
        "create",
        "clusterrolebinding",
        "auditor",
        "--clusterrole=agentkube-auditor",
        &subject,
    ];
    kubectl(&binding, "").await?;
    let enough = scan_as(&kubeconfig, &["-o", "json"]).await?;
    ensure!(
        matches!(enough.status.code(), Some(0 | 1)),
        "{:?}",
        said(&enough)
    );
    findings(&enough)?;
    ensure!(!said(&enough).2.contains("warning"), "{enough:?}");
    // It lets nobody find out what others may do.
    cluster.apply_manifests().await?;
    deregister(&cluster.client()).await?;
    bot_with_token(&ns).await?;
    let asking = scan_as(&kubeconfig, &["--author", "ada"]).await?;
    let (status, _, stderr) = said(&asking);
    ensure!(
        status == Some(2)
            && stderr.contains("(hint: --author needs the verb create on subjectaccessreviews"),
        "{asking:?}"
    );
    kubectl(
        &[
            "delete",
            "clusterrolebinding/auditor",
            "clusterrole/agentkube-auditor",
        ],
        "",
    )
    .await?;
    Ok(())
}

/// Creates an Agent that names a Secret, while no webhook is asked.
async fn bot_with_token(ns: &Namespace) -> anyhow::Result<Value> {
    let bot = with_token("bot");
    until("an Agent that nobody judges", LIMIT, async || {
        Ok(ns.try_create(&bot).await?.ok())
    })
    .await
}

async fn what_was_named_while_nobody_asked_is_found(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.apply_manifests().await?;
    deregister(&cluster.client()).await?;
    let ns = cluster.namespace("unasked").await?;
    let bot = bot_with_token(&ns).await?;
    let unasked = async || -> anyhow::Result<Vec<Value>> {
        let found = findings(&scan(cluster, &ns, &["-o", "json"]).await?)?;
        Ok(found
            .into_iter()
            .filter(|finding| finding["category"] == "Unasked")
            .collect())
    };
    let found = unasked().await?;
    ensure!(found.is_empty(), "{found:?}");

    // As long as nobody asks, whatever names something is found; ...
    ask_no_policy(cluster).await?;
    let found = unasked().await?;
    ensure!(
        found.len() == 1
            && found[0]["field"] == TOKEN_FIELD
            && found[0]["severity"] == "medium"
            && found[0]["message"]
                .as_str()
                .is_some_and(|message| message.contains("does not check references")),
        "{found:?}"
    );
    // ... and once somebody does, what is older. Times are in seconds.
    let created = bot["metadata"]["creationTimestamp"].clone();
    until("a later second", LIMIT, async || {
        let later = ns
            .create(&agent("later", &json!({"runtime": "Codex"})))
            .await?;
        ns.delete("Agent", "later").await?;
        ns.wait_gone("Agent", "later").await?;
        Ok((later["metadata"]["creationTimestamp"] != created).then_some(()))
    })
    .await?;
    cluster.apply_manifests().await?;
    let found = unasked().await?;
    ensure!(
        found.len() == 1
            && found[0]["message"]
                .as_str()
                .is_some_and(|message| message.contains("has only checked references since")),
        "{found:?}"
    );
    Ok(())
}

async fn what_a_user_has_no_right_to_is_told(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.apply_manifests().await?;
    deregister(&cluster.client()).await?;
    let ns = cluster.namespace("authors").await?;
    bot_with_token(&ns).await?;
    let author = User::new(cluster, &ns, "author", &[writes_agents()]).await?;
    let reader = User::new(
        cluster,
        &ns,
        "reader",
        &[may_one("get", "secrets", "token")],
    )
    .await?;
    let runner = User::new(cluster, &ns, "runner", &[may("create", "pods")]).await?;
    for (user, is_permitted) in [(&author, false), (&reader, true), (&runner, true)] {
        let output = scan(cluster, &ns, &["-o", "json", "--author", &user.name]).await?;
        let found: Vec<_> = findings(&output)?
            .into_iter()
            .filter(|finding| finding["reason"] == "ReferenceNotPermitted")
            .collect();
        ensure!(found.is_empty() == is_permitted, "{}: {found:?}", user.name);
        if let Some(found) = found.first() {
            ensure!(
                found["category"] == "Refused"
                    && found["severity"] == "high"
                    && found["field"] == TOKEN_FIELD
                    && found["message"]
                        .as_str()
                        .is_some_and(|message| message.contains(&user.name)),
                "{found}"
            );
        }
    }
    cluster.apply_manifests().await
}
