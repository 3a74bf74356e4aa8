//! `agentkube review` and the cluster agree, manifest by manifest.
//!
//! A manifest that only the cluster can judge (the ServiceAccount that a pod names, say) has no place
//! in the corpus.

use std::{fmt::Write as _, fs, path::Path, sync::Arc};

use agentkube::{
    admission::Policy,
    offline::{Document, DocumentFormat, Reviewer, Verdict, parse},
};
use anyhow::{Context, ensure};
use kube::{client::Body, core::Status};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, Namespace, agent, tool},
    harness::{Test, tests},
};

/// The fewest manifests that say something.
const FEWEST: usize = 60;

/// The last minor release known to say what a schema refuses in other words than today's: `review` has those of the
/// newest one that is tested. Of an old one the decision, its code and reason are compared, and our own words.
const OLD: u32 = 33;

/// What today's releases refuse for the format of its number, and old ones took.
const TOO_LARGE_FOR_SOME: &str = "tool-probe-seconds-large.yaml";

pub(crate) fn tests() -> Vec<Test> {
    tests![Manager:
        review_and_the_cluster_agree_on_every_manifest,
        kubectl_takes_the_pods_that_review_prints,
    ]
}

async fn review_and_the_cluster_agree_on_every_manifest(cluster: &Cluster) -> anyhow::Result<()> {
    let is_old = cluster.minor().await? <= OLD;
    let ns = cluster.namespace("corpus").await?;
    let token = json!({"secretRef": {"name": "token", "key": "token"}});
    let known = [
        agent("codex", &json!({"runtime": "Codex", "agentToken": token})),
        tool(
            "browser",
            &json!({"type": "custom", "image": "quay.io/team/browser:v1"}),
        ),
        tool("database", &json!({"type": "postgres"})),
    ];
    for object in &known {
        ns.create(object).await?;
    }
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/review-corpus");
    let mut files = fs::read_dir(corpus)?
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    files.sort();
    ensure!(
        files.len() >= FEWEST,
        "the corpus holds {} manifests",
        files.len()
    );
    let mut differences = String::new();
    for file in files {
        let text = fs::read_to_string(&file)?;
        let name: Arc<str> = file.display().to_string().into();
        let document = parse(&name, &text, DocumentFormat::Yaml, |document| document)
            .pop()
            .with_context(|| format!("{name} is empty"))?
            .map_err(|problem| anyhow::anyhow!("{problem}"))?;
        let answer = ask(&ns, &document.object).await?;
        let verdict = offline(&ns, &known, document)?;
        if is_old && name.ends_with(TOO_LARGE_FOR_SOME) {
            ensure!(answer.refusal.is_none(), "{name} is refused here, too");
            continue;
        }
        if let Err(difference) = compare(&verdict, &answer, is_old) {
            writeln!(differences, "{name}: {difference:#}")?;
        }
    }
    ensure!(differences.is_empty(), "they differ:\n{differences}");
    Ok(())
}

async fn kubectl_takes_the_pods_that_review_prints(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster.namespace("pods").await?;
    let mut documents = String::new();
    // Words that a parser of another YAML could take for something else.
    let goals = [
        "yes",
        "0400",
        "1e3",
        "null",
        "~",
        "12:30",
        "a: b # c",
        "line\nline\n",
    ];
    for (number, goal) in goals.iter().enumerate() {
        let spec = json!({
            "runtime": "Codex",
            "goal": {"inline": goal},
            "agentToken": {"secretRef": {"name": "token", "key": "token"}},
            "sessionRecording": {"enabled": true},
            "resources": {"limits": {"cpu": 2}},
        });
        // Paused in the cluster, so that the pods' names are free.
        let mut object = agent(&format!("agent-{number}"), &spec);
        ns.create(&object).await?;
        object["spec"]["paused"] = json!(false);
        object["metadata"]["namespace"] = json!(ns.name);
        writeln!(documents, "---\n{object}")?;
    }
    let folder = tempfile::tempdir()?;
    let manifest = folder.path().join("agents.yaml");
    fs::write(&manifest, documents)?;
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_agentkube"))
        .args(["review", "--pods"])
        .arg(&manifest)
        .env_clear()
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    let said = cluster
        .kubectl(
            &[
                "apply",
                "--dry-run=server",
                "--filename",
                "-",
                "--output",
                "json",
            ],
            &String::from_utf8(output.stdout)?,
        )
        .await?;
    ensure!(said.success, "{said:?}");
    let applied: Value = serde_json::from_str(&said.stdout)?;
    for (number, goal) in goals.iter().enumerate() {
        let pod = &applied["items"][number];
        ensure!(
            pod["metadata"]["name"] == format!("agent-{number}"),
            "{pod}"
        );
        let env = pod["spec"]["initContainers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|container| container["env"].as_array())
            .flatten()
            .find(|variable| variable["name"] == "AGENTKUBE_AGENT_GOAL");
        ensure!(
            env.is_some_and(|variable| variable["value"] == *goal),
            "{goal:?} became {env:?}"
        );
    }
    Ok(())
}

/// What `review` says to a document, in the company of the objects that exist.
fn offline(ns: &Namespace, known: &[Value], document: Document) -> anyhow::Result<Verdict> {
    let mut documents: Vec<Document> = known
        .iter()
        .map(|object| Document {
            file: Arc::from("known"),
            line: 1,
            object: object.clone(),
        })
        .collect();
    documents.push(document);
    for document in &mut documents {
        document.object["metadata"]["namespace"] = json!(ns.name);
    }
    let policy = Policy::default();
    let reviewer = Reviewer::new(&policy, false);
    let seen = documents
        .into_iter()
        .map(|document| reviewer.see(document))
        .collect();
    reviewer
        .verdicts(seen)
        .pop()
        .context("there is a verdict")
}

/// The API server's answer to a creation that leaves nothing.
async fn ask(ns: &Namespace, object: &Value) -> anyhow::Result<Answer> {
    let mut object = object.clone();
    object["metadata"]["namespace"] = json!(ns.name);
    let base = match object["kind"].as_str() {
        Some("Agent" | "Tool") => "/apis/agentkube.io/v1alpha1",
        _ => "/api/v1",
    };
    let plural = object["kind"]
        .as_str()
        .map(|kind| format!("{}s", kind.to_lowercase()))
        .context("the object has a kind")?;
    let request = http::Request::post(format!(
        "{base}/namespaces/{}/{plural}?dryRun=All&fieldValidation=Strict",
        ns.name
    ))
    .header(http::header::CONTENT_TYPE, "application/json")
    .body(Body::from(serde_json::to_vec(&object)?))?;
    let (head, body) = ns
        .client
        .send(request)
        .await?
        .into_parts();
    let warnings = head
        .headers
        .get_all(http::header::WARNING)
        .iter()
        .map(|warning| String::from_utf8_lossy(warning.as_bytes()).into_owned())
        .collect();
    let body = body.collect_bytes().await?;
    let refusal = if head.status.is_success() {
        None
    } else {
        Some(serde_json::from_slice(&body)?)
    };
    Ok(Answer { refusal, warnings })
}

struct Answer {
    refusal: Option<Status>,
    warnings: Vec<String>,
}

fn compare(verdict: &Verdict, answer: &Answer, is_old: bool) -> anyhow::Result<()> {
    for warning in &verdict.warnings {
        // A header escapes quotes.
        let said = warning.replace('"', "\\\"");
        ensure!(
            answer
                .warnings
                .iter()
                .any(|header| header.contains(&said)),
            "only review warns: {warning}, the cluster: {:?}",
            answer.warnings
        );
    }
    let Some(status) = &answer.refusal else {
        ensure!(
            !verdict.is_denied(),
            "only review refuses: {:?}",
            verdict.decided.message
        );
        ensure!(
            answer.warnings.len() == verdict.warnings.len(),
            "only the cluster warns: {:?}",
            answer.warnings
        );
        return Ok(());
    };
    let decided = &verdict.decided;
    let (said, message) = (
        decided
            .message
            .as_deref()
            .unwrap_or_default(),
        status.message.as_str(),
    );
    ensure!(verdict.is_denied(), "only the cluster refuses: {message}");
    ensure!(
        decided.code == Some(status.code) && decided.reason == Some(status.reason.as_str()),
        "review says {:?} {:?}: {said}, the cluster {} {}: {message}",
        decided.code,
        decided.reason,
        status.code,
        status.reason
    );
    if is_old && !message.starts_with("admission webhook") {
        return Ok(());
    }
    let causes = status
        .details
        .as_ref()
        .map(|details| details.causes.as_slice())
        .unwrap_or_default();
    if causes.is_empty() {
        for cause in &decided.causes {
            ensure!(
                message.contains(
                    cause
                        .field
                        .trim_start_matches("metadata.")
                ),
                "review says {said}, the cluster: {message}"
            );
        }
        ensure!(
            said == message,
            "review says {said}, the cluster: {message}"
        );
    } else {
        // The API server reads the fields of an object in any order.
        let mut theirs: Vec<_> = causes
            .iter()
            .map(|cause| (&*cause.field, &*cause.reason, &*cause.message))
            .collect();
        let mut ours: Vec<_> = decided
            .causes
            .iter()
            .map(|cause| (&*cause.field, cause.reason, &*cause.message))
            .collect();
        theirs.sort_unstable();
        ours.sort_unstable();
        ensure!(
            ours == theirs,
            "review says {ours:#?}, the cluster {theirs:#?}"
        );
    }
    Ok(())
}
