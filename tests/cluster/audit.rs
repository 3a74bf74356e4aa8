//! What a denial leaves behind, on a real API server.

mod command;
mod limits;

use agentkube_playground::until;
use anyhow::{Context, ensure};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, LIMIT, Namespace, agent, pod_of},
    harness::{Test, tests},
};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = tests![Manager:
        a_refusal_leaves_a_rejection_that_says_everything_but_credentials,
        repeats_fold_by_object_user_and_reason,
        a_dry_run_is_counted_and_leaves_no_rejection,
        users_of_a_namespace_read_rejections_and_neither_forge_nor_erase_them,
        odd_names_and_long_specs_are_recorded_all_the_same,
        the_audit_log_of_the_api_server_tells_decisions_images_and_rules,
    ];
    tests.extend(command::tests());
    tests.extend(limits::tests());
    tests
}

/// The Rejections of a namespace, once there are so many.
async fn rejections(ns: &Namespace, count: usize) -> anyhow::Result<Vec<Value>> {
    let mut last = Vec::new();
    let found = until(&format!("{count} Rejections"), LIMIT, async || {
        last = ns.list("Rejection", "").await?;
        Ok((last.len() == count).then(|| last.clone()))
    })
    .await;
    found.with_context(|| format!("last seen: {last:?}"))
}

/// The Rejection of an object, once it says so.
async fn rejection(
    ns: &Namespace,
    object: &str,
    what: &str,
    wanted: impl Fn(&Value) -> bool,
) -> anyhow::Result<Value> {
    let mut last = Vec::new();
    let found = until(
        &format!("the Rejection of {object} {what}"),
        LIMIT,
        async || {
            last = ns.list("Rejection", "").await?;
            let found = last.iter().find(|rejection| {
                rejection["spec"]["object"]["name"] == object && wanted(rejection)
            });
            Ok(found.cloned())
        },
    )
    .await;
    found.with_context(|| format!("last seen: {last:?}"))
}

async fn a_refusal_leaves_a_rejection_that_says_everything_but_credentials(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("rejected").await?;
    let spec = json!({
        "runtime": "Custom",
        "goal": {"inline": "use password: hunter2hunter2 and sk-ant-api03-AbCdEfGhIjKlMnOpQrSt1"},
    });
    ns.refused(&agent("bad", &spec)).await?;
    let rejection = rejection(&ns, "bad", "to be written", |_| true).await?;
    let text = rejection.to_string();
    ensure!(
        !text.contains("hunter2") && !text.contains("sk-ant"),
        "a credential was recorded: {text}"
    );
    let mut spec = rejection["spec"].clone();
    for time in ["firstSeen", "lastSeen"] {
        ensure!(spec[time].is_string(), "{spec}");
        spec[time] = json!("(a time)");
    }
    insta::assert_yaml_snapshot!("rejection_of_an_agent", spec);

    let kubectl = async |arguments: &[&str]| {
        let arguments = [arguments, &["--namespace", &ns.name]].concat();
        cluster.kubectl(&arguments, "").await
    };
    let said = kubectl(&["get", "rejections"]).await?;
    let lines: Vec<Vec<&str>> = said
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    ensure!(
        lines[0]
            == [
                "NAME",
                "KIND",
                "NAME",
                "REASON",
                "USER",
                "COUNT",
                "LAST-SEEN"
            ],
        "{said:?}"
    );
    ensure!(
        lines[1][1..6] == ["Agent", "bad", "ImageRequired", "admin", "1"],
        "{said:?}"
    );
    let said = kubectl(&["get", "rej", "-o", "wide"]).await?;
    ensure!(
        said.stdout.contains("MESSAGE")
            && said
                .stdout
                .contains("spec.image: Required value: runtime Custom has no default image"),
        "{said:?}"
    );

    // A pod is recorded beside where it would have been, too.
    let env = json!([{"name": "ANTHROPIC_API_KEY", "value": "hunter2hunter2"}]);
    let bot = ns
        .create(&agent("bot", &json!({"runtime": "ClaudeCode"})))
        .await?;
    let plain = pod_of(
        &bot,
        "plain",
        &json!({"containers": [{"name": "agent", "image": "agentkube.invalid/agent", "env": env}]}),
    );
    ns.refused(&plain).await?;
    let found = self::rejection(&ns, "plain", "to be written", |_| true).await?;
    ensure!(
        found["spec"]["reason"] == "PlaintextToken" && found["spec"]["object"]["kind"] == "Pod",
        "{found}"
    );
    ensure!(!found.to_string().contains("hunter2"), "{found}");
    Ok(())
}

async fn repeats_fold_by_object_user_and_reason(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster.namespace("folded").await?;
    let bad = agent("bad", &json!({"runtime": "Custom"}));
    for _ in 0..5 {
        ns.refused(&bad).await?;
    }
    rejection(&ns, "bad", "to count 5", |rejection| {
        rejection["spec"]["count"] == 5
    })
    .await?;

    let other = agent("bad", &json!({"runtime": "Codx"}));
    ns.refused(&other).await?;
    let said = cluster
        .kubectl(
            &[
                "create",
                "--namespace",
                &ns.name,
                "--as=alice",
                "--as-group=system:masters",
                "-f",
                "-",
            ],
            &bad.to_string(),
        )
        .await?;
    ensure!(!said.success, "{said:?}");
    let all = rejections(&ns, 3).await?;
    let mut seen: Vec<_> = all
        .iter()
        .map(|rejection| {
            let spec = &rejection["spec"];
            format!("{} {} {}", spec["user"], spec["reason"], spec["count"])
        })
        .collect();
    seen.sort();
    ensure!(
        seen == [
            r#""admin" "ImageRequired" 5"#,
            r#""admin" "UnknownRuntime" 1"#,
            r#""alice" "ImageRequired" 1"#
        ],
        "{seen:?}"
    );

    // Later ones join what the API server holds.
    ns.refused(&bad).await?;
    let joined = rejection(&ns, "bad", "to count 6", |rejection| {
        rejection["spec"]["count"] == 6
    })
    .await?;
    let time = |member: &str| {
        joined["spec"][member]
            .as_str()
            .map(str::to_owned)
    };
    ensure!(time("firstSeen") <= time("lastSeen"), "{joined}");
    Ok(())
}

async fn a_dry_run_is_counted_and_leaves_no_rejection(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster.namespace("dry").await?;
    let apply = async |name: &str, arguments: &[&str]| {
        let base = ["create", "--namespace", &ns.name, "-f", "-"];
        let object = agent(name, &json!({"runtime": "Custom"}));
        cluster
            .kubectl(&[&base, arguments].concat(), &object.to_string())
            .await
    };
    let said = apply("tried", &["--dry-run=server"]).await?;
    ensure!(
        said.stderr
            .contains("has no default image"),
        "{said:?}"
    );
    // The one that comes later is written, and the one before is not.
    apply("meant", &[]).await?;
    let all = rejections(&ns, 1).await?;
    ensure!(all[0]["spec"]["object"]["name"] == "meant", "{all:?}");
    let log = cluster.manager_log().await;
    ensure!(
        log.lines()
            .any(|line| line.contains(r#""dry_run":true"#) && line.contains(r#""name":"tried""#)),
        "a dry run is not in the log"
    );
    Ok(())
}

async fn users_of_a_namespace_read_rejections_and_neither_forge_nor_erase_them(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("readers").await?;
    ns.refused(&agent("bad", &json!({"runtime": "Custom"})))
        .await?;
    let recorded = rejections(&ns, 1).await?.remove(0);
    let name = recorded["metadata"]["name"]
        .as_str()
        .context("a name")?
        .to_owned();
    for role in ["view", "edit", "admin"] {
        let user = format!("{role}er");
        let said = cluster
            .kubectl(
                &[
                    "create",
                    "rolebinding",
                    &user,
                    "--clusterrole",
                    role,
                    "--user",
                    &user,
                    "--namespace",
                    &ns.name,
                ],
                "",
            )
            .await?;
        ensure!(said.success, "{said:?}");
        let act = async |arguments: &[&str], input: &str| {
            let who = ["--namespace", &ns.name, "--as", &user];
            cluster
                .kubectl(&[arguments, &who].concat(), input)
                .await
        };
        // Roles are aggregated by a controller, a moment after they were installed.
        until("the role to be aggregated", LIMIT, async || {
            let said = act(&["get", "rejections"], "").await?;
            Ok(said
                .stdout
                .contains(&name)
                .then_some(()))
        })
        .await?;
        let mut forged = recorded.clone();
        forged["metadata"] = json!({"name": "forged"});
        for (arguments, input) in [
            (&["create", "-f", "-"][..], forged.to_string()),
            (&["delete", "rejection", &name], String::new()),
            (&["delete", "rejections", "--all"], String::new()),
            (
                &[
                    "patch",
                    "rejection",
                    &name,
                    "--type=merge",
                    "-p",
                    r#"{"spec":{"user":"bob"}}"#,
                ],
                String::new(),
            ),
        ] {
            let said = act(arguments, &input).await?;
            ensure!(
                !said.success && said.stderr.contains("forbidden"),
                "{role} may {arguments:?}: {said:?}"
            );
        }
        let said = act(&["auth", "can-i", "create", "agents.agentkube.io"], "").await?;
        ensure!(
            said.stdout.trim() == if role == "view" { "no" } else { "yes" },
            "{role}: {said:?}"
        );
    }
    // Nor can the admin of a namespace grant what is not theirs.
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "eraser", "namespace": ns.name},
        "rules": [{"apiGroups": ["agentkube.io"], "resources": ["rejections"], "verbs": ["delete"]}],
    });
    let said = cluster
        .kubectl(&["create", "--as=adminer", "-f", "-"], &role.to_string())
        .await?;
    ensure!(
        said.stderr
            .contains("attempting to grant RBAC permissions not currently held"),
        "{said:?}"
    );
    Ok(())
}

async fn odd_names_and_long_specs_are_recorded_all_the_same(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("odd").await?;
    let odd = "Bad/Näme\u{1b}[31m";
    ns.try_create(&agent(odd, &json!({"runtime": "Custom"})))
        .await?
        .err()
        .context("an odd name is refused")?;
    rejection(&ns, odd, "to be written", |_| true).await?;

    let said = cluster
        .kubectl(
            &[
                "create",
                "--namespace",
                &ns.name,
                "--as=Ünïcode user@example.com",
                "--as-group=system:masters",
                "-f",
                "-",
            ],
            &agent("by-odd-user", &json!({"runtime": "Custom"})).to_string(),
        )
        .await?;
    ensure!(!said.success, "{said:?}");
    rejection(&ns, "by-odd-user", "to name the user", |rejection| {
        rejection["spec"]["user"] == "Ünïcode user@example.com"
    })
    .await?;

    let long = json!({"runtime": "Custom", "goal": {"inline": "word ".repeat(200_000)}});
    ns.refused(&agent("long", &long))
        .await?;
    let long = rejection(&ns, "long", "to be written", |_| true).await?;
    ensure!(
        long["spec"]["submittedTruncated"] == true
            && long["spec"]["submitted"]["runtime"] == "Custom"
            && long.to_string().len() < 20_000,
        "{long}"
    );
    Ok(())
}

async fn the_audit_log_of_the_api_server_tells_decisions_images_and_rules(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("audited").await?;
    ns.refused(&agent("bad", &json!({"runtime": "Custom"})))
        .await?;
    ns.create(&agent("bot", &json!({"runtime": "Codex", "paused": false})))
        .await?;
    ns.wait_running("bot").await?;
    let told = |resource: &str, name: &str| -> anyhow::Result<Vec<String>> {
        let events = cluster.audit_events()?;
        let event = events
            .iter()
            .find(|event| {
                let object = &event["objectRef"];
                object["namespace"] == ns.name.as_str()
                    && object["resource"] == resource
                    && object["name"] == name
                    && event["verb"] == "create"
            })
            .with_context(|| format!("no event of {resource} {name}"))?;
        let annotations = event["annotations"]
            .as_object()
            .context("annotations")?;
        Ok(annotations
            .iter()
            .filter(|(key, _)| key.contains("agentkube.io/"))
            // Only until the API server has the condition by which it tells suspects.
            .filter(|(key, _)| !key.starts_with("validate.pods."))
            .map(|(key, value)| format!("{key}: {}", value.as_str().unwrap_or_default()))
            .collect())
    };
    let told = [
        told("agents", "bad")?,
        told("agents", "bot")?,
        told("pods", "bot")?,
    ];
    assert_snapshot!(
        "audit_annotations",
        told.map(|lines| lines.join("\n"))
            .join("\n\n")
    );
    Ok(())
}
