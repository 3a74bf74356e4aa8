//! No credential is ever repeated: some are put into every place that a person could paste one
//! into, and everything that the manager wrote is searched for them.

use agentkube_playground::{Manager, until};
use anyhow::ensure;
use kube::{Client, client::Body};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, LIMIT, Namespace, agent, pod, tool},
    harness::{Test, tests},
    users::{User, writes_agents},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane: no_credential_is_ever_repeated]
}

/// What is searched for, in lower case.
const MARK: &str = "planted0123456789";

/// Credentials as they are pasted: as a word, one that is a legal name, inside an image reference, as a
/// tag, in a URL, in a sentence.
const PLANTS: [&str; 6] = [
    "sk-ant-api03-Planted0123456789AbCdEf",
    "sk-planted0123456789abcdef",
    "registry.example.com/sk-planted0123456789abcdef",
    "registry.example.com/agent:ghp_Planted0123456789AbCdEfGh",
    "https://robot:Planted0123456789@registry.example.com/agent",
    "use the key sk-ant-api03-Planted0123456789AbCdEf and go",
];

/// Objects with everything set in which there can be text.
fn templates() -> [Value; 3] {
    let reference = json!({"name": "a", "key": "b"});
    let mut full = agent(
        "full",
        &json!({
            "runtime": "ClaudeCode", "image": "registry.example.com/agent:v1",
            "imagePullPolicy": "Always", "imagePullSecrets": [{"name": "a"}],
            "agentToken": {"secretRef": reference}, "mode": "system", "paused": false,
            "goal": {"inline": "work"}, "model": {"name": "a", "provider": "b"},
            "tools": [{"name": "a"}], "nodeSelector": {"a": "b"}, "serviceAccountName": "default",
            "resources": {"limits": {"cpu": "1"}},
            "tolerations": [{"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"}],
        }),
    );
    full["metadata"]["annotations"] = json!({"a": "b"});
    full["metadata"]["labels"] = json!({"agentkube.io/agentgroup": "a"});
    let mut used = tool(
        "full",
        &json!({
            "type": "custom", "image": "registry.example.com/tool:v1", "description": "a",
            "tags": ["a"], "idleTimeout": "15m",
            "probe": {"exec": {"command": ["a"]}},
            "config": {
                "hostname": "a", "username": "b", "databaseName": "c", "sslMode": "d",
                "credentialsRef": reference,
            },
        }),
    );
    used["metadata"]["labels"] = json!({"a": "b"});
    let mut running = pod(
        "full",
        &json!({"agentkube.io/agent": "known", "agentkube.io/tool": "known", "a": "b"}),
        &json!({
            "containers": [{
                "name": "a", "image": "agentkube.invalid/codex", "args": ["a"], "command": ["b"],
                "env": [
                    {"name": "ANTHROPIC_API_KEY", "valueFrom": {"secretKeyRef": reference}},
                    {"name": "B", "value": "c"},
                ],
            }],
            "initContainers": [{"name": "i", "image": "agentkube.invalid/codex"}],
            "imagePullSecrets": [{"name": "a"}],
            "nodeSelector": {"a": "b"},
            "volumes": [{"name": "v", "image": {"reference": "agentkube.invalid/codex"}}],
        }),
    );
    running["metadata"]["annotations"] = json!({
        "agentkube.io/images": "[]", "agentkube.io/agent-generation": "1",
    });
    [full, used, running]
}

/// The places of an object that hold text, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(at.to_owned()),
        Value::Array(list) => {
            for (index, item) in list.iter().enumerate() {
                places(item, &format!("{at}/{index}"), found);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let name = name
                    .replace('~', "~0")
                    .replace('/', "~1");
                places(member, &format!("{at}/{name}"), found);
            }
        }
        _ => {}
    }
}

/// Every template with every credential in every place.
fn planted() -> Vec<(String, Value)> {
    let mut planted = Vec::new();
    for template in templates() {
        let mut found = Vec::new();
        places(&template, "", &mut found);
        // An object that is admitted is called by its name everywhere.
        found.retain(|at| !["/apiVersion", "/kind", "/metadata/name"].contains(&at.as_str()));
        for at in found {
            for plant in PLANTS {
                let mut object = template.clone();
                object["metadata"]["name"] = json!(format!("n-{}", planted.len()));
                if let Some(place) = object.pointer_mut(&at) {
                    *place = json!(plant);
                }
                planted.push((format!("{} {at} {plant}", object["kind"]), object));
            }
        }
        // As the name of something that is refused.
        for plant in PLANTS {
            let mut object = template.clone();
            object["metadata"]["name"] = json!(plant);
            object["spec"]["image"] = json!("A B");
            object["metadata"]["labels"]["agentkube.io/agent"] = json!("nobody");
            object["spec"]["goal"] = json!({"inline": plant});
            object["spec"][plant] = json!(plant);
            planted.push((format!("{} as a name {plant}", object["kind"]), object));
        }
    }
    planted
}

/// What the API server said to an object: its warnings, and the refusal if it was ours.
struct Answer {
    is_admitted: bool,
    is_ours: bool,
    said: String,
}

async fn send(client: &Client, ns: &Namespace, object: &Value) -> anyhow::Result<Answer> {
    let (path, plural) = match object["kind"].as_str() {
        Some("Agent") => ("apis/agentkube.io/v1alpha1", "agents"),
        Some("Tool") => ("apis/agentkube.io/v1alpha1", "tools"),
        _ => ("api/v1", "pods"),
    };
    let request = http::Request::post(format!("/{path}/namespaces/{}/{plural}", ns.name))
        .header("content-type", "application/json")
        .body(Body::from(object.to_string().into_bytes()))?;
    let response = client.send(request).await?;
    let is_admitted = response.status().is_success();
    let mut said: Vec<_> = response
        .headers()
        .get_all("warning")
        .iter()
        .map(|warning| String::from_utf8_lossy(warning.as_bytes()).into_owned())
        // Those of the API server itself.
        .filter(|warning| !warning.contains("unknown field"))
        .collect();
    let body = response
        .into_body()
        .collect_bytes()
        .await?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let is_ours = !is_admitted && body.contains("denied the request");
    if is_ours {
        said.push(body);
    }
    Ok(Answer {
        is_admitted,
        is_ours,
        said: said.join("\n"),
    })
}

fn holds(text: &str) -> bool {
    text.to_ascii_lowercase().contains(MARK)
}

async fn no_credential_is_ever_repeated(cluster: &Cluster) -> anyhow::Result<()> {
    let manager = cluster
        .start_manager(&[
            ("RUST_LOG", "debug,kube_client=trace"),
            ("AGENTKUBE_ALLOWED_REGISTRIES", "registry.example.com"),
            ("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com/mirror"),
        ])
        .await?;
    let ns = cluster.namespace("planted").await?;
    let author = User::new(cluster, &ns, "author", &[writes_agents()]).await?;
    ns.create(&agent("known", &json!({"runtime": "ClaudeCode"})))
        .await?;
    ns.create(&tool(
        "known",
        &json!({"type": "custom", "image": "registry.example.com/tool:v1"}),
    ))
    .await?;

    let mut leaks = Vec::new();
    let (mut admitted, mut refused) = (0, 0);
    // As somebody who may do everything, and as somebody who may use nothing that the objects name.
    for client in [&ns.client, &author.sees.client] {
        for (what, object) in planted() {
            let answer = send(client, &ns, &object).await?;
            admitted += usize::from(answer.is_admitted);
            refused += usize::from(answer.is_ours);
            if holds(&answer.said) {
                leaks.push(format!("{what}: an answer: {}", answer.said));
            }
        }
    }
    ensure!(
        admitted > 100 && refused > 200,
        "{admitted} admitted and {refused} refused show little"
    );
    settle(&ns, &manager).await?;

    for line in manager
        .log()
        .lines()
        .filter(|line| holds(line))
    {
        leaks.push(format!("the log: {line}"));
    }
    let metrics = manager.metrics().await?;
    for line in metrics
        .lines()
        .filter(|line| holds(line))
    {
        leaks.push(format!("the metrics: {line}"));
    }
    for kind in ["Event", "Rejection", "Agent", "Tool"] {
        for mut object in ns.list(kind, "").await? {
            let ours = match kind {
                "Event" => {
                    let by = object["reportingController"]
                        .as_str()
                        .unwrap_or_default();
                    if !by.contains("agentkube") {
                        continue;
                    }
                    json!([object["note"], object["reason"], object["action"]])
                }
                "Rejection" => {
                    object["metadata"]["managedFields"] = Value::Null;
                    object
                }
                // Which image runs is the object's own word, and has to be told in full.
                _ => {
                    object["status"]["images"] = Value::Null;
                    object["status"].clone()
                }
            };
            if holds(&ours.to_string()) {
                leaks.push(format!("{kind}: {ours}"));
            }
        }
    }
    ensure!(
        leaks.is_empty(),
        "{} leaks:\n{}",
        leaks.len(),
        leaks.join("\n")
    );
    Ok(())
}

/// Waits until every Agent and Tool has a status, and until nothing more is recorded.
async fn settle(ns: &Namespace, manager: &Manager) -> anyhow::Result<()> {
    until("every status to be written", LIMIT, async || {
        for kind in ["Agent", "Tool"] {
            let objects = ns.list(kind, "").await?;
            if objects
                .iter()
                .any(|object| object["status"]["observedGeneration"].is_null())
            {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await?;
    until("every Rejection to be written", LIMIT, async || {
        Ok(manager
            .metrics()
            .await?
            .contains("agentkube_rejections_pending 0\n")
            .then_some(()))
    })
    .await
}
