//! What authors see when they create Agents, Tools and pods.

use agentkube::images::runtimes;
use anyhow::{Context, ensure};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, agent, expect_refusal, images, pod, pod_of, tool},
    harness::{Test, tests},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![Manager:
        each_refusal_says_what_kubernetes_would_and_what_to_do,
        kubectl_shows_the_refusal_and_the_warnings,
        every_place_of_an_image_is_served,
        fields_that_agentkube_does_not_know_survive,
        debug_containers_are_served_again_and_again,
        a_pod_of_an_agent_gets_everything_that_its_agent_says,
        dry_runs_are_judged_and_leave_nothing,
    ]
}

fn token() -> Value {
    json!({"secretRef": {"name": "token", "key": "token"}})
}

async fn each_refusal_says_what_kubernetes_would_and_what_to_do(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("refusals").await?;
    ns.create(&agent(
        "codex",
        &json!({"runtime": "Codex", "agentToken": token()}),
    ))
    .await?;
    let large =
        json!({"type": "redis", "probe": {"exec": {"command": vec!["x".repeat(4096); 33]}}});
    let too_large = (tool("a", &large), "SpecTooLarge", "spec");
    for (object, reason, field) in refusals()
        .into_iter()
        .chain([too_large])
    {
        let status = ns
            .refused(&object)
            .await
            .with_context(|| object.to_string())?;
        expect_refusal(&status, reason, field).with_context(|| object.to_string())?;
        ensure!(
            !status.message.contains("hunter2"),
            "a token was repeated: {}",
            status.message
        );
    }
    Ok(())
}

/// Objects that are refused, with the reason and the field of the first cause.
fn refusals() -> Vec<(Value, &'static str, &'static str)> {
    let container = |image: &str| json!({"containers": [{"name": "agent", "image": image}]});
    let literal = json!({"containers": [{
        "name": "agent",
        "image": "agentkube.invalid/codex",
        "env": [{"name": "OPENAI_API_KEY", "value": "hunter2"}],
    }]});
    let of_codex = json!({"agentkube.io/agent": "codex"});
    vec![
        (
            agent("a", &json!({"runtime": "Custom"})),
            "ImageRequired",
            "spec.image",
        ),
        (
            tool("a", &json!({"type": "custom"})),
            "ImageRequired",
            "spec.image",
        ),
        (
            agent(
                "a",
                &json!({"runtime": "Codex", "image": "https://example.com/x"}),
            ),
            "InvalidImage",
            "spec.image",
        ),
        (
            agent("a", &json!({"runtime": "Codex", "image": ""})),
            "InvalidImage",
            "spec.image",
        ),
        (
            agent("a", &json!({"runtime": "codex"})),
            "UnknownRuntime",
            "spec.runtime",
        ),
        (
            agent("a", &json!({"runtime": 5})),
            "UnknownRuntime",
            "spec.runtime",
        ),
        (
            tool("a", &json!({"type": "postgresql"})),
            "UnknownToolType",
            "spec.type",
        ),
        (
            agent(
                "a",
                &json!({"runtime": "Codex", "agentToken": {"secretRef": {"name": "Token", "key": "token"}}}),
            ),
            "InvalidSecretRef",
            "spec.agentToken.secretRef.name",
        ),
        (
            agent(
                "a",
                &json!({"runtime": "Codex", "agentToken": {"secretRef": {"name": "token"}}}),
            ),
            "InvalidSecretRef",
            "spec.agentToken.secretRef.key",
        ),
        (
            pod("a", &json!({}), &container("agentkube.invalid/agent")),
            "UnresolvedPlaceholder",
            "spec.containers[0].image",
        ),
        (
            pod("a", &json!({}), &container("agentkube.invalid/codx")),
            "UnresolvedPlaceholder",
            "spec.containers[0].image",
        ),
        (
            pod(
                "a",
                &json!({"agentkube.io/agent": "nobody"}),
                &container("nginx:1.27"),
            ),
            "UnknownAgent",
            "metadata.labels[agentkube.io/agent]",
        ),
        (
            pod(
                "a",
                &json!({"agentkube.io/tool": "nothing"}),
                &container("agentkube.invalid/tool"),
            ),
            "UnknownTool",
            "metadata.labels[agentkube.io/tool]",
        ),
        (
            pod("a", &of_codex, &literal),
            "PlaintextToken",
            "spec.containers[0].env[0].value",
        ),
    ]
}

async fn kubectl_shows_the_refusal_and_the_warnings(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster.namespace("kubectl").await?;
    let apply = async |object: &Value| {
        cluster
            .kubectl(
                &["apply", "--namespace", &ns.name, "--filename", "-"],
                &object.to_string(),
            )
            .await
    };
    let said = apply(&agent("bad", &json!({"runtime": "Custom"}))).await?;
    ensure!(!said.success, "{said:?}");
    assert_snapshot!("kubectl_refusal", said.stderr);

    let bad = json!({"runtime": "Codx", "image": "a b", "agentToken": {"secretRef": {"name": "T", "key": "k"}}});
    let said = apply(&agent("worse", &bad)).await?;
    ensure!(!said.success, "{said:?}");
    let runtimes: Vec<_> = runtimes()
        .map(|runtime| format!("{:?}", runtime.as_str()))
        .collect();
    assert_snapshot!(
        "kubectl_refusal_of_everything",
        said.stderr
            .replace(&runtimes.join(", "), "RUNTIMES")
    );

    let said = apply(&agent(
        "warned",
        &json!({"runtime": "Custom", "image": "quay.io/team/agent", "agentToken": token()}),
    ))
    .await?;
    ensure!(said.success, "{said:?}");
    assert_snapshot!("kubectl_warnings", said.stderr);
    Ok(())
}

async fn every_place_of_an_image_is_served(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster.namespace("places").await?;
    let browser = ns
        .create(&tool(
            "browser",
            &json!({"type": "custom", "image": "quay.io/team/browser:v1"}),
        ))
        .await?;
    let spec = json!({
        "containers": [
            {"name": "tool", "image": "agentkube.invalid/tool"},
            {"name": "theirs", "image": "nginx:1.27"},
        ],
        "initContainers": [
            {"name": "prepare", "image": "agentkube.invalid/goose"},
            {"name": "sidecar", "image": "agentkube.invalid/agentlet", "restartPolicy": "Always"},
        ],
        "volumes": [{"name": "cli", "image": {"reference": "agentkube.invalid/cursor"}}],
    });
    let created = ns
        .create(&pod_of(&browser, "p", &spec))
        .await?;
    let seen = images(&created);
    let seen: Vec<_> = seen
        .iter()
        .map(|(name, image, policy)| (name.as_str(), image.as_str(), policy.as_str()))
        .collect();
    ensure!(
        seen == [
            ("tool", "quay.io/team/browser:v1", "IfNotPresent"),
            ("theirs", "nginx:1.27", "IfNotPresent"),
            (
                "prepare",
                "docker.io/adaptivelive/goose:v0.3.0",
                "IfNotPresent"
            ),
            (
                "sidecar",
                "docker.io/adaptivelive/agentkube-agentlet:v0.3.0",
                "IfNotPresent"
            ),
            (
                "cli",
                "docker.io/adaptivelive/cursor:v0.3.0",
                "IfNotPresent"
            ),
        ],
        "{seen:#?}"
    );
    ensure!(
        created["spec"]["initContainers"][1]["restartPolicy"] == "Always",
        "the sidecar is none any more: {created}"
    );
    Ok(())
}

async fn fields_that_agentkube_does_not_know_survive(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster.namespace("unknown").await?;
    // Newer than the API version that the program is built with (1.33).
    let rules = json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]);
    let spec = |image: &str| {
        json!({
            "hostnameOverride": "somewhere",
            "containers": [{
                "name": "agent",
                "image": image,
                "restartPolicy": "Never",
                "restartPolicyRules": rules,
            }],
        })
    };
    // A pod that admission has nothing to do with shows what the API server itself keeps.
    let plain = pod(
        "plain",
        &json!({}),
        &spec("docker.io/adaptivelive/codex:v0.3.0"),
    );
    if cluster.minor().await? <= 33 {
        // It knows no more than the program does. What neither knows is not kept by anybody, and a
        // pod is refused for what it says beside it, whether admission has to do with it or not.
        for object in [
            plain,
            pod("served", &json!({}), &spec("agentkube.invalid/codex")),
        ] {
            let refused = ns.try_create(&object).await?;
            let message = refused
                .err()
                .map(|status| status.message);
            ensure!(
                message
                    .as_ref()
                    .is_some_and(|message| message.contains(
                        "spec.containers[0].restartPolicy: Forbidden: may not be set for non-init containers"
                    )),
                "{message:?}"
            );
        }
        return Ok(());
    }
    let plain = ns.create(&plain).await?;
    ensure!(
        plain["spec"]["containers"][0]["restartPolicyRules"] == rules,
        "this API server drops the field: {plain}"
    );
    let served = ns
        .create(&pod("served", &json!({}), &spec("agentkube.invalid/codex")))
        .await?;
    let mut expected = plain["spec"].clone();
    let mut spec = served["spec"].clone();
    for spec in [&mut expected, &mut spec] {
        // The volume of the ServiceAccount's token has a random name.
        spec["volumes"] = Value::Null;
        spec["containers"][0]["volumeMounts"] = Value::Null;
    }
    ensure!(spec == expected, "{spec:#}\nand not\n{expected:#}");
    Ok(())
}

async fn debug_containers_are_served_again_and_again(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster.namespace("debug").await?;
    ns.create(&pod(
        "web",
        &json!({}),
        &json!({"containers": [{"name": "web", "image": "nginx:1.27"}]}),
    ))
    .await?;
    for name in ["first", "second"] {
        let said = cluster
            .kubectl(
                &[
                    "debug",
                    "pod/web",
                    "--namespace",
                    &ns.name,
                    "--image",
                    "agentkube.invalid/claudecode",
                    "--container",
                    name,
                    "--profile",
                    "general",
                    "--",
                    "sh",
                ],
                "",
            )
            .await?;
        ensure!(said.success, "{said:?}");
    }
    let web = ns
        .get("Pod", "web")
        .await?
        .context("the pod is there")?;
    let seen = images(&web);
    for (name, image, policy) in &seen[1..] {
        ensure!(
            image == "docker.io/adaptivelive/claudecode:v0.3.0" && policy == "IfNotPresent",
            "{name}: {image} {policy}"
        );
    }
    ensure!(seen.len() == 3, "{seen:?}");

    let said = cluster
        .kubectl(
            &[
                "debug",
                "pod/web",
                "--namespace",
                &ns.name,
                "--image",
                "agentkube.invalid/nonsense",
                "--container",
                "third",
                "--profile",
                "general",
                "--",
                "sh",
            ],
            "",
        )
        .await?;
    ensure!(
        !said.success
            && said
                .stderr
                .contains("names no image of the matrix"),
        "{said:?}"
    );
    Ok(())
}

async fn a_pod_of_an_agent_gets_everything_that_its_agent_says(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("everything").await?;
    let spec = json!({
        "runtime": "ClaudeCode",
        "image": "registry.example.com:5000/team/claude:latest",
        "agentToken": token(),
        "imagePullSecrets": [{"name": "team-pull"}],
    });
    let bot = ns.create(&agent("bot", &spec)).await?;
    let spec = json!({"containers": [
        {"name": "agent", "image": "agentkube.invalid/agent", "env": [{"name": "HOME", "value": "/workspace"}]},
        {"name": "helper", "image": "agentkube.invalid/agentlet"},
    ]});
    let created = ns
        .create(&pod_of(&bot, "by-hand", &spec))
        .await?;
    let container = &created["spec"]["containers"][0];
    ensure!(
        container["image"] == "registry.example.com:5000/team/claude:latest",
        "{container}"
    );
    ensure!(container["imagePullPolicy"] == "Always", "{container}");
    let env = json!([
        {"name": "ANTHROPIC_API_KEY", "valueFrom": {"secretKeyRef": {"name": "token", "key": "token"}}},
        {"name": "HOME", "value": "/workspace"},
    ]);
    ensure!(container["env"] == env, "{container}");
    ensure!(
        created["spec"]["containers"][1]["env"].is_null(),
        "only the agent reads the token: {created}"
    );
    ensure!(
        created["spec"]["imagePullSecrets"] == json!([{"name": "team-pull"}]),
        "{created}"
    );
    let record = created["metadata"]["annotations"]["agentkube.io/images"]
        .as_str()
        .context("a record")?;
    let record: Value = serde_json::from_str(record)?;
    let expected = json!([
        {"container": "agent", "component": "ClaudeCode", "image": "registry.example.com:5000/team/claude:latest", "source": "resource"},
        {"container": "helper", "component": "Agentlet", "image": "docker.io/adaptivelive/agentkube-agentlet:v0.3.0", "source": "default"},
    ]);
    ensure!(record == expected, "{record:#}");
    Ok(())
}

async fn dry_runs_are_judged_and_leave_nothing(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster.namespace("dry-run").await?;
    let create = async |object: &Value| {
        cluster
            .kubectl(
                &[
                    "create",
                    "--namespace",
                    &ns.name,
                    "--dry-run=server",
                    "--filename",
                    "-",
                    "--output",
                    "json",
                ],
                &object.to_string(),
            )
            .await
    };
    let said = create(&agent("bad", &json!({"runtime": "Custom"}))).await?;
    ensure!(
        !said.success
            && said
                .stderr
                .contains("has no default image"),
        "{said:?}"
    );
    let spec = json!({"containers": [{"name": "c", "image": "agentkube.invalid/codex"}]});
    let said = create(&pod("p", &json!({}), &spec)).await?;
    ensure!(
        said.success
            && said
                .stdout
                .contains("docker.io/adaptivelive/codex:v0.3.0"),
        "{said:?}"
    );
    ensure!(ns.get("Pod", "p").await?.is_none(), "a dry run left a pod");
    Ok(())
}
