//! The webhooks and the policies, each alone, are asked the same: random changes by users of random
//! rights. They have to come to the same answer.

use anyhow::{bail, ensure};
use fastrand::Rng;
use kube::{
    Error,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{ask_no_policy, without_webhooks};
use crate::{
    authority::with_token,
    cluster::{Cluster, agent, tool},
    users::{User, may, may_one, writes_agents},
};

const SEED: u64 = 20_261_128;
const USERS: usize = 12;
const CHANGES: usize = 30;

pub(super) async fn the_policies_refuse_what_the_webhooks_refuse_and_nothing_else(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = without_webhooks(cluster, "differs").await?;
    let mut random = Rng::with_seed(SEED);
    let mut bot = with_token("stored");
    bot["spec"]["agentToken"]["secretRef"]["name"] = json!("a");
    ns.create(&bot).await?;
    ns.create(&tool("stored", &tool_spec("a")))
        .await?;

    let mut asked = Vec::new();
    for number in 0..USERS {
        let user = User::new(
            cluster,
            &ns,
            &format!("user-{number}"),
            &rights(&mut random),
        )
        .await?;
        let mut changes = Vec::new();
        for _ in 0..CHANGES {
            let change = Change::random(&mut random);
            let missing = missing_by_policy(change.ask(&user).await?)?;
            changes.push((change, missing));
        }
        asked.push((user, changes));
    }
    expect_some_of_each(&asked)?;

    ask_no_policy(cluster).await?;
    let _manager = cluster.start_manager(&[]).await?;
    for (user, changes) in &asked {
        for (change, by_policy) in changes {
            let by_webhook = missing_by_webhook(change.ask(user).await?)?;
            ensure!(
                by_webhook == *by_policy,
                "the webhook misses {by_webhook:?}, the policy {by_policy:?}: {change:?} by {}",
                user.name
            );
        }
    }
    cluster.apply_manifests().await
}

/// The field that the user needs a right to; `None` if they have all they need.
type Missing = Option<String>;

/// What a user asks for, without effect.
#[derive(Debug)]
enum Change {
    Create(Value),
    Update { kind: &'static str, patch: Value },
}

impl Change {
    fn random(random: &mut Rng) -> Self {
        match random.u8(0..6) {
            0..3 => Self::Create(agent("new", &agent_spec(random))),
            3 => Self::Create(tool("new", &tool_spec(name(random)))),
            4 => Self::Update {
                kind: "Agent",
                patch: json!({"spec": agent_patch(random)}),
            },
            _ => Self::Update {
                kind: "Tool",
                patch: json!({"spec": tool_patch(random)}),
            },
        }
    }

    /// Asks for it, with nothing to be stored.
    async fn ask(&self, user: &User) -> anyhow::Result<kube::Result<()>> {
        let answer = match self {
            Self::Create(object) => {
                let kind = object["kind"]
                    .as_str()
                    .unwrap_or_default();
                let mut object = object.clone();
                object["metadata"]["namespace"] = json!(user.sees.name);
                let dry_run = PostParams {
                    dry_run: true,
                    ..PostParams::default()
                };
                user.sees
                    .api(kind)
                    .create(&dry_run, &serde_json::from_value(object)?)
                    .await
            }
            Self::Update { kind, patch } => {
                let dry_run = PatchParams {
                    dry_run: true,
                    ..PatchParams::default()
                };
                user.sees
                    .api(kind)
                    .patch("stored", &dry_run, &Patch::Merge(patch))
                    .await
            }
        };
        Ok(answer.map(|_| ()))
    }
}

/// What the API server itself misses.
fn missing_by_policy(answer: kube::Result<()>) -> anyhow::Result<Missing> {
    match answer {
        Ok(()) => Ok(None),
        Err(Error::Api(status))
            if status
                .message
                .contains("ValidatingAdmissionPolicy") =>
        {
            let told = status
                .message
                .split_once("denied request: ")
                .and_then(|(_, told)| told.split_once(": Forbidden: "));
            match told {
                Some((field, _)) => Ok(Some(field.to_owned())),
                None => bail!("a policy could not be evaluated: {}", status.message),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// What the webhooks miss first.
fn missing_by_webhook(answer: kube::Result<()>) -> anyhow::Result<Missing> {
    let status = match answer {
        Ok(()) => return Ok(None),
        Err(Error::Api(status)) if status.code == 403 || status.code == 422 => status,
        Err(error) => return Err(error.into()),
    };
    let causes = status
        .details
        .map(|details| details.causes)
        .unwrap_or_default();
    Ok(causes
        .into_iter()
        .find(|cause| cause.reason == "ReferenceNotPermitted")
        .map(|cause| cause.field))
}

fn expect_some_of_each(asked: &[(User, Vec<(Change, Missing)>)]) -> anyhow::Result<()> {
    let all = asked
        .iter()
        .flat_map(|(_, changes)| changes);
    let refused = all
        .clone()
        .filter(|(_, missing)| missing.is_some())
        .count();
    let all = all.count();
    ensure!(
        (all / 5..all * 4 / 5).contains(&refused),
        "{refused} of {all} are refused, which shows little"
    );
    Ok(())
}

fn rights(random: &mut Rng) -> Vec<Value> {
    let mut rules = vec![writes_agents()];
    for object in ["a", "b", "c.d-e"] {
        for (verb, resource) in [
            ("get", "secrets"),
            ("get", "configmaps"),
            ("create", "serviceaccounts/token"),
            ("impersonate", "serviceaccounts"),
            // These give nothing.
            ("list", "secrets"),
            ("get", "serviceaccounts"),
        ] {
            if random.bool() {
                rules.push(may_one(verb, resource, object));
            }
        }
    }
    match random.u8(0..6) {
        0 => rules.push(may("get", "secrets")),
        1 => rules.push(may("create", "pods")),
        2 => rules.push(may("create", "pods/exec")),
        _ => {}
    }
    rules
}

/// A name, most of which an object can have.
fn name(random: &mut Rng) -> &'static str {
    let names = [
        "a", "a", "a", "b", "b", "c.d-e", "none", "A", "../a", "a_b", "a.", " a",
    ];
    names[random.usize(..names.len())]
}

fn agent_spec(random: &mut Rng) -> Value {
    let mut spec = json!({"runtime": "Codex"});
    if random.bool() {
        spec["agentToken"] = json!({"secretRef": {"name": name(random), "key": "key"}});
    }
    if random.bool() {
        let secrets: Vec<_> = (0..random.usize(..=3))
            .map(|_| json!({"name": name(random)}))
            .collect();
        spec["imagePullSecrets"] = json!(secrets);
    }
    match random.u8(0..3) {
        0 => spec["goal"] = json!({"inline": "work"}),
        1 => spec["goal"] = json!({"configMapKeyRef": {"name": name(random), "key": "key"}}),
        _ => {}
    }
    if random.bool() {
        spec["serviceAccountName"] = json!(name(random));
    }
    spec
}

/// A change of an Agent that names the Secret `a`.
fn agent_patch(random: &mut Rng) -> Value {
    match random.u8(0..8) {
        0 => json!({"paused": random.bool()}),
        1 => json!({"agentToken": null}),
        2 => json!({"image": "registry.example.com/mine:v1"}),
        3 => json!({"tolerations": [{"key": "mine", "operator": "Exists"}]}),
        4 => json!({"paused": false, "model": {"name": "mine"}}),
        // Nothing changes.
        5 => json!({"agentToken": {"secretRef": {"name": "a"}}}),
        _ => agent_spec(random),
    }
}

fn tool_spec(credentials: &str) -> Value {
    json!({"type": "postgres", "config": {"credentialsRef": {"name": credentials, "key": "key"}}})
}

/// A change of a Tool that names the Secret `a`.
fn tool_patch(random: &mut Rng) -> Value {
    match random.u8(0..5) {
        0 => json!({"description": "the team's", "tags": ["one"]}),
        1 => json!({"config": {"credentialsRef": null}}),
        2 => json!({"config": {"hostname": "mine.example.com"}}),
        3 => json!({"tags": ["two"], "idleTimeout": "1h"}),
        _ => tool_spec(name(random)),
    }
}
