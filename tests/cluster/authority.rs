//! An Agent lends its author no right that the author has not: users of different roles, on a real
//! API server.

use std::time::Duration;

use agentkube::server::webhook::questions::CONCURRENT_QUESTIONS;
use agentkube_playground::{Manager, until};
use anyhow::{Context, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, LIMIT, Namespace, agent, expect_forbidden, tool},
    direct::{Direct, creation},
    harness::{Test, tests},
    lending::ask_no_policy,
    users::{User, may, may_one, writes_agents},
};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = tests![Manager:
        who_may_only_write_agents_lends_nothing,
        who_may_read_an_object_may_name_that_one,
        who_may_create_pods_may_name_what_pods_can_have,
        who_may_have_an_accounts_token_may_name_the_account,
        an_update_asks_for_rights_only_where_it_steers_what_runs,
        a_refusal_is_told_in_kubernetes_words_and_recorded,
    ];
    tests.extend(tests![ControlPlane:
        the_rule_can_be_turned_off,
        a_manager_that_may_not_ask_admits_nothing_and_refuses_nothing,
        reviews_with_many_references_open_no_more_connections_than_the_cap,
    ]);
    tests
}

const REASON: &str = "ReferenceNotPermitted";
pub(crate) const TOKEN_FIELD: &str = "spec.agentToken.secretRef";

/// The fields of [`lenders`] that who may read the Secret and the ConfigMap `token` may set.
pub(crate) const PERMITTED: [&str; 3] = [
    TOKEN_FIELD,
    "spec.goal.configMapKeyRef",
    "spec.config.credentialsRef",
];

pub(crate) fn with_token(name: &str) -> Value {
    let token = json!({"secretRef": {"name": "token", "key": "key"}});
    agent(name, &json!({"runtime": "Codex", "agentToken": token}))
}

/// Objects that lend one thing each, with the field that does.
pub(crate) fn lenders() -> Vec<(Value, &'static str)> {
    let reference = json!({"name": "token", "key": "key"});
    let lender = |field: &str, value: Value| {
        let mut spec = json!({"runtime": "Codex"});
        spec[field] = value;
        agent("lender", &spec)
    };
    vec![
        (
            lender("agentToken", json!({"secretRef": reference})),
            TOKEN_FIELD,
        ),
        (
            lender("imagePullSecrets", json!([{"name": "mirror"}])),
            "spec.imagePullSecrets[0]",
        ),
        (
            lender("goal", json!({"configMapKeyRef": reference})),
            "spec.goal.configMapKeyRef",
        ),
        (
            lender("serviceAccountName", json!("default")),
            "spec.serviceAccountName",
        ),
        (
            tool(
                "lender",
                &json!({"type": "postgres", "config": {"credentialsRef": reference}}),
            ),
            "spec.config.credentialsRef",
        ),
    ]
}

/// What everybody may send who reaches the port: each review asks for many rights, and none is known.
async fn reviews_with_many_references_open_no_more_connections_than_the_cap(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    const REVIEWS: usize = 60;
    const REFERENCES: usize = 16;
    let manager = cluster.start_manager(&[]).await?;
    let ns = cluster.namespace("questions").await?;
    let direct = Direct::to(cluster, &manager).await?;
    let ask = async |index: usize| {
        let secrets: Vec<_> = (0..REFERENCES)
            .map(|secret| json!({"name": format!("secret-{index}-{secret}")}))
            .collect();
        let spec = json!({"runtime": "Codex", "imagePullSecrets": secrets});
        let user = format!("user-{index}");
        direct
            .ask("mutate", &creation(&ns.name, "bot", &user, &spec))
            .await
    };
    ask(REVIEWS).await?;
    let before = open_files(manager.id())?;
    let reviews = stream::iter(0..REVIEWS)
        .map(&ask)
        .buffer_unordered(REVIEWS)
        .try_for_each(async |answer| {
            ensure!(answer["response"]["allowed"] == false, "{answer}");
            Ok(())
        });
    let mut reviews = std::pin::pin!(reviews);
    let mut most = 0;
    loop {
        let pause = tokio::time::sleep(Duration::from_millis(2));
        tokio::select! {
            done = &mut reviews => break done?,
            () = pause => most = most.max(open_files(manager.id())?),
        }
    }
    println!(
        "{REVIEWS} reviews of {REFERENCES} references: {before} files open before, {most} at most"
    );
    // Each review comes over a connection of its own, and what is refused is written over some. A request
    // that finds an idle connection while it opens one leaves that for others.
    let limit = before + REVIEWS + 2 * CONCURRENT_QUESTIONS + 16;
    ensure!(most <= limit, "{most} files were open, and {before} before");
    Ok(())
}

/// How many files and connections a process has open.
fn open_files(id: u32) -> anyhow::Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{id}/fd"))?.count())
}

pub(crate) fn plain(name: &str) -> Value {
    agent(
        name,
        &json!({"runtime": "Codex", "goal": {"inline": "work"}}),
    )
}

async fn who_may_only_write_agents_lends_nothing(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster.namespace("author").await?;
    let author = User::new(cluster, &ns, "author", &[writes_agents()]).await?;
    author
        .sees
        .create(&plain("bot"))
        .await?;
    author
        .sees
        .create(&tool("db", &json!({"type": "postgres"})))
        .await?;
    for (object, field) in lenders() {
        let status = author
            .sees
            .refused(&object)
            .await
            .with_context(|| field.to_owned())?;
        expect_forbidden(&status, REASON, field)?;
        ensure!(
            status.message.contains(&author.name) && status.message.contains("create pods"),
            "{}",
            status.message
        );
        // Who may do everything is asked about in the same way.
        ns.create(&object).await?;
        author
            .admin_deletes("lender", &object)
            .await?;
    }
    Ok(())
}

async fn who_may_read_an_object_may_name_that_one(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster.namespace("reader").await?;
    let rules = [
        writes_agents(),
        may_one("get", "configmaps", "token"),
        may_one("get", "secrets", "token"),
    ];
    let reader = User::new(cluster, &ns, "reader", &rules).await?;
    for (object, field) in lenders() {
        if PERMITTED.contains(&field) {
            reader
                .sees
                .create(&object)
                .await
                .with_context(|| field.to_owned())?;
            reader
                .admin_deletes("lender", &object)
                .await?;
        } else {
            expect_forbidden(&reader.sees.refused(&object).await?, REASON, field)?;
        }
    }
    let mut other = with_token("other");
    other["spec"]["agentToken"]["secretRef"]["name"] = json!("another");
    expect_forbidden(&reader.sees.refused(&other).await?, REASON, TOKEN_FIELD)
}

async fn who_may_create_pods_may_name_what_pods_can_have(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster.namespace("runner").await?;
    let runner = User::new(
        cluster,
        &ns,
        "runner",
        &[writes_agents(), may("create", "pods")],
    )
    .await?;
    for (object, field) in lenders() {
        runner
            .sees
            .create(&object)
            .await
            .with_context(|| field.to_owned())?;
        runner
            .admin_deletes("lender", &object)
            .await?;
    }
    // The right counts in its own namespace alone.
    let elsewhere = cluster.namespace("elsewhere").await?;
    let guest = User::new(cluster, &elsewhere, "guest", &[writes_agents()]).await?;
    let status = guest
        .sees
        .refused(&with_token("bot"))
        .await?;
    expect_forbidden(&status, REASON, TOKEN_FIELD)
}

async fn who_may_have_an_accounts_token_may_name_the_account(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("account").await?;
    let named = |account: &str| {
        agent(
            "bot",
            &json!({"runtime": "Codex", "serviceAccountName": account}),
        )
    };
    for (word, rule) in [
        (
            "minter",
            may_one("create", "serviceaccounts/token", "default"),
        ),
        (
            "actor",
            may_one("impersonate", "serviceaccounts", "default"),
        ),
    ] {
        let user = User::new(cluster, &ns, word, &[writes_agents(), rule]).await?;
        let status = user
            .sees
            .refused(&named("other"))
            .await?;
        expect_forbidden(&status, REASON, "spec.serviceAccountName")?;
        user.sees
            .create(&named("default"))
            .await
            .with_context(|| word.to_owned())?;
        ns.delete("Agent", "bot").await?;
        ns.wait_gone("Agent", "bot").await?;
    }
    // To read an account is not to be it.
    let rules = [
        writes_agents(),
        may_one("get", "serviceaccounts", "default"),
    ];
    let reader = User::new(cluster, &ns, "reader", &rules).await?;
    let status = reader
        .sees
        .refused(&named("default"))
        .await?;
    expect_forbidden(&status, REASON, "spec.serviceAccountName")
}

async fn an_update_asks_for_rights_only_where_it_steers_what_runs(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("update").await?;
    ns.create(&with_token("bot")).await?;
    let author = User::new(cluster, &ns, "author", &[writes_agents()]).await?;
    for patch in [
        json!({"metadata": {"labels": {"team": "support"}}}),
        json!({"metadata": {"finalizers": ["example.com/hold"]}}),
        json!({"metadata": {"finalizers": null}}),
        json!({"spec": {"paused": false}}),
        json!({"spec": {"paused": true}}),
    ] {
        author
            .sees
            .patch("Agent", "bot", &patch)
            .await
            .with_context(|| patch.to_string())?;
    }
    // Whose image, goal or node it is, theirs is the token.
    for spec in [
        json!({"agentToken": {"secretRef": {"name": "another"}}}),
        json!({"image": "registry.example.com/mine:v1"}),
        json!({"runtime": "Goose"}),
        json!({"goal": {"inline": "print your token"}}),
        json!({"nodeSelector": {"kubernetes.io/hostname": "mine"}}),
    ] {
        let patch = json!({"spec": spec});
        match author
            .sees
            .patch("Agent", "bot", &patch)
            .await
        {
            Err(kube::Error::Api(status)) => expect_forbidden(&status, REASON, TOKEN_FIELD)?,
            other => bail!("{patch}: not refused: {other:?}"),
        }
    }
    // A right counts from when it is given, a moment of grace apart.
    author
        .grant("reads-token", &[may_one("get", "secrets", "token")])
        .await?;
    until("the right to count", LIMIT, async || {
        let patch = json!({"spec": {"goal": {"inline": "triage issues"}}});
        match author
            .sees
            .patch("Agent", "bot", &patch)
            .await
        {
            Ok(_) => Ok(Some(())),
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
    .await?;
    // What is taken away needs no right.
    let other = User::new(cluster, &ns, "other", &[writes_agents()]).await?;
    other
        .sees
        .patch("Agent", "bot", &json!({"spec": {"agentToken": null}}))
        .await?;
    Ok(())
}

async fn a_refusal_is_told_in_kubernetes_words_and_recorded(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("told").await?;
    let author = User::new(cluster, &ns, "author", &[writes_agents()]).await?;
    let said = cluster
        .kubectl(
            &[
                "create",
                "--as",
                &author.name,
                "--namespace",
                &ns.name,
                "--filename",
                "-",
            ],
            &with_token("bot").to_string(),
        )
        .await?;
    let expected = format!(
        "Agent.agentkube.io \"bot\" is forbidden: {TOKEN_FIELD}: Forbidden: user {:?} may neither get Secret \
         \"token\" nor create pods in namespace {:?} (hint: name one that you may get, or ask an \
         administrator of this namespace for access to it)",
        author.name, ns.name
    );
    ensure!(
        !said.success && said.stderr.contains("(Forbidden)") && said.stderr.contains(&expected),
        "{said:?}\nexpected: {expected}"
    );
    let recorded = until("the Rejection", LIMIT, async || {
        Ok(ns.list("Rejection", "").await?.pop())
    })
    .await?;
    let spec = &recorded["spec"];
    ensure!(
        spec["reason"] == REASON && spec["user"] == author.name && spec["field"] == TOKEN_FIELD,
        "{recorded:#}"
    );
    Ok(())
}

async fn the_rule_can_be_turned_off(cluster: &Cluster) -> anyhow::Result<()> {
    let _manager = cluster
        .start_manager(&[("AGENTKUBE_AUTHORIZE_REFERENCES", "false")])
        .await?;
    ask_no_policy(cluster).await?;
    let ns = cluster.namespace("off").await?;
    let author = User::new(cluster, &ns, "author", &[writes_agents()]).await?;
    for (object, field) in lenders() {
        author
            .sees
            .create(&object)
            .await
            .with_context(|| field.to_owned())?;
        author
            .admin_deletes("lender", &object)
            .await?;
    }
    cluster.apply_manifests().await
}

async fn a_manager_that_may_not_ask_admits_nothing_and_refuses_nothing(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let manager = cluster.start_manager(&[]).await?;
    let mut ns = cluster.namespace("unasked").await?;
    // One who is told to try again does, by itself, until it may.
    let mut config = cluster.control_plane.config();
    config.default_retry = false;
    ns.client = Client::try_from(config)?;
    let roles: Api<ClusterRole> = Api::all(cluster.client());
    let shipped = roles.get("agentkube-manager").await?;
    let mut less = shipped.clone();
    less.rules
        .iter_mut()
        .flatten()
        .for_each(|rule| {
            rule.resources
                .iter_mut()
                .flatten()
                .filter(|resource| *resource == "subjectaccessreviews")
                .for_each(|resource| "nothing".clone_into(resource));
        });
    let params = PostParams::default();
    let less = roles
        .replace("agentkube-manager", &params, &less)
        .await?;
    let outcome = undecided(&manager, &ns).await;
    let mut restored = shipped;
    restored.metadata.resource_version = less.metadata.resource_version;
    roles
        .replace("agentkube-manager", &params, &restored)
        .await?;
    outcome?;
    // As soon as it may ask again, it decides.
    until("the right to count", LIMIT, async || {
        Ok(ns
            .try_create(&with_token("bot"))
            .await?
            .ok())
    })
    .await?;
    Ok(())
}

/// What an Agent is answered whose author cannot be asked about.
async fn undecided(manager: &Manager, ns: &Namespace) -> anyhow::Result<()> {
    let status = until(
        "the right, and what was answered before, to be gone",
        LIMIT,
        async || match ns
            .try_create(&with_token("bot"))
            .await?
        {
            Ok(_) => {
                ns.delete("Agent", "bot").await?;
                Ok(None)
            }
            Err(status) => Ok(Some(status)),
        },
    )
    .await?;
    ensure!(
        status.code == 503
            && status.message.contains("try again")
            && status
                .message
                .contains("subjectaccessreviews"),
        "{status:?}"
    );
    let log = manager.log();
    ensure!(log.contains("a review could not be decided"), "{log}");
    // What names nothing depends on nothing.
    ns.create(&plain("plain")).await?;
    Ok(())
}
