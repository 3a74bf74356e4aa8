//! An Agent lends its author nothing while the webhooks are away: the API server itself asks, by the
//! shipped policies.

mod differential;

use anyhow::{Context, bail, ensure};
use k8s_openapi::{
    api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
    core::Status,
};
use serde_json::{Value, json};

use agentkube_playground::until;

use crate::{
    authority::{PERMITTED, TOKEN_FIELD, lenders, plain, with_token},
    cluster::{Cluster, LIMIT, Namespace, agent},
    faults::deregister,
    harness::{Test, tests},
    lending::differential::the_policies_refuse_what_the_webhooks_refuse_and_nothing_else,
    users::{User, may, may_one, writes_agents},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane:
        without_the_webhooks_an_author_without_rights_names_nothing,
        without_the_webhooks_a_right_to_one_object_is_a_right_to_name_it,
        without_the_webhooks_each_of_many_pull_secrets_is_asked_about,
        more_pull_secrets_of_another_time_are_for_who_may_create_pods,
        without_the_webhooks_an_update_is_asked_about_where_it_steers_what_runs,
        without_the_webhooks_what_is_being_deleted_goes_and_lends_nothing,
        without_the_webhooks_no_credential_is_repeated,
        the_api_server_finds_no_fault_with_the_policies,
        the_policies_refuse_what_the_webhooks_refuse_and_nothing_else,
    ]
}

/// The most pull secrets of an Agent.
const MOST: usize = 16;

/// The names of the policies, and of what puts them into force.
const POLICIES: [&str; 2] = ["agentkube-agent-references", "agentkube-tool-references"];

/// Takes the webhooks away, and waits until the API server does without them.
async fn without_webhooks(cluster: &Cluster, word: &str) -> anyhow::Result<Namespace> {
    cluster.apply_manifests().await?;
    deregister(&cluster.client()).await?;
    let ns = cluster.namespace(word).await?;
    until("an Agent without webhooks", LIMIT, async || {
        Ok(ns
            .try_create(&plain("unjudged"))
            .await?
            .ok())
    })
    .await?;
    cluster
        .installation
        .lock()
        .await
        .until_references_are_asked_about()
        .await?;
    Ok(ns)
}

/// Takes the policies out of force, and waits until the API server asks about nothing. The webhooks must
/// not ask either.
pub(crate) async fn ask_no_policy(cluster: &Cluster) -> anyhow::Result<()> {
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(cluster.client());
    for name in POLICIES {
        if bindings.get_opt(name).await?.is_some() {
            bindings
                .delete(name, &DeleteParams::default())
                .await?;
        }
    }
    let ns = cluster.namespace("unbound").await?;
    let author = User::new(cluster, &ns, "author", &[writes_agents()]).await?;
    for (object, _) in lenders() {
        until("nobody to be asked about", LIMIT, async || {
            Ok(author
                .sees
                .try_create(&object)
                .await?
                .ok())
        })
        .await?;
        author
            .admin_deletes("lender", &object)
            .await?;
    }
    Ok(())
}

/// Demands that the API server itself refuses for want of a right to what this field names.
pub(crate) fn expect_asked(status: &Status, field: &str, user: &User) -> anyhow::Result<()> {
    let policy = if field.contains("credentialsRef") {
        "agentkube-tool-references"
    } else {
        "agentkube-agent-references"
    };
    let expected = format!(
        "ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: {field}: Forbidden: user {:?} may",
        user.name
    );
    ensure!(
        status.code == 403 && status.reason == "Forbidden" && status.message.contains(&expected),
        "{status:?}\nexpected: {expected}"
    );
    ensure!(status.message.contains(&user.sees.name), "{status:?}");
    Ok(())
}

async fn without_the_webhooks_an_author_without_rights_names_nothing(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = without_webhooks(cluster, "away").await?;
    let author = User::new(cluster, &ns, "author", &[writes_agents()]).await?;
    let runner = [writes_agents(), may("create", "pods")];
    let runner = User::new(cluster, &ns, "runner", &runner).await?;
    author
        .sees
        .create(&plain("bot"))
        .await?;
    for (object, field) in lenders() {
        let status = author
            .sees
            .refused(&object)
            .await
            .with_context(|| field.to_owned())?;
        expect_asked(&status, field, &author)?;
        ensure!(
            status
                .message
                .ends_with("(hint: name one that you may get, or ask an administrator of this namespace for access to it)")
                || field == "spec.serviceAccountName",
            "{status:?}"
        );
        // Who may create pods can have all of it in one.
        runner
            .sees
            .create(&object)
            .await
            .with_context(|| field.to_owned())?;
        runner
            .admin_deletes("lender", &object)
            .await?;
    }
    // What no object can be called lends nothing; the webhooks do not ask about it either.
    let goal = json!({"configMapKeyRef": {"name": "../Goals", "key": "one"}});
    author
        .sees
        .create(&agent(
            "nothing",
            &json!({"runtime": "Codex", "goal": goal, "serviceAccountName": "A b"}),
        ))
        .await?;
    Ok(())
}

async fn without_the_webhooks_a_right_to_one_object_is_a_right_to_name_it(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = without_webhooks(cluster, "one").await?;
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
            expect_asked(&reader.sees.refused(&object).await?, field, &reader)?;
        }
    }
    let named = |account: &str| {
        agent(
            "bot",
            &json!({"runtime": "Codex", "serviceAccountName": account}),
        )
    };
    for (word, verb, resource) in [
        ("minter", "create", "serviceaccounts/token"),
        ("actor", "impersonate", "serviceaccounts"),
    ] {
        let rules = [writes_agents(), may_one(verb, resource, "default")];
        let user = User::new(cluster, &ns, word, &rules).await?;
        let status = user
            .sees
            .refused(&named("other"))
            .await?;
        expect_asked(&status, "spec.serviceAccountName", &user)?;
        user.sees
            .create(&named("default"))
            .await
            .with_context(|| word.to_owned())?;
        user.admin_deletes("bot", &named("default"))
            .await?;
    }
    Ok(())
}

/// An Agent that names these pull secrets, and the first of them wherever a name can stand.
fn naming(names: &[String]) -> Value {
    let secrets: Vec<_> = names
        .iter()
        .map(|name| json!({"name": name}))
        .collect();
    let reference = json!({"name": names[0], "key": "key"});
    agent(
        "bot",
        &json!({
            "runtime": "Codex", "imagePullSecrets": secrets,
            "agentToken": {"secretRef": reference},
            "goal": {"configMapKeyRef": reference},
            "serviceAccountName": names[0],
        }),
    )
}

/// Somebody who may use all that [`naming`] names, and create no pod.
async fn reader(cluster: &Cluster, ns: &Namespace, names: &[String]) -> anyhow::Result<User> {
    let mut secrets = may_one("get", "secrets", &names[0]);
    secrets["resourceNames"] = json!(names);
    let rules = [
        writes_agents(),
        may_one("get", "configmaps", &names[0]),
        may_one("impersonate", "serviceaccounts", &names[0]),
        secrets,
    ];
    User::new(cluster, ns, "reader", &rules).await
}

fn mirrors(count: usize) -> Vec<String> {
    (0..count)
        .map(|index| format!("mirror-{index}"))
        .collect()
}

async fn without_the_webhooks_each_of_many_pull_secrets_is_asked_about(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = without_webhooks(cluster, "many").await?;
    let names = mirrors(MOST);
    let reader = reader(cluster, &ns, &names).await?;
    // As much as can be asked about: within what the API server lets a policy cost.
    reader
        .sees
        .create(&naming(&names))
        .await?;
    reader
        .admin_deletes("bot", &naming(&names))
        .await?;
    for index in [1, 7, MOST - 1] {
        let mut others = names.clone();
        "another".clone_into(&mut others[index]);
        let status = reader
            .sees
            .refused(&naming(&others))
            .await?;
        let field = format!("spec.imagePullSecrets[{index}]");
        expect_asked(&status, &field, &reader)?;
        ensure!(
            status
                .message
                .contains("Secret \"another\""),
            "{status:?}"
        );
    }
    Ok(())
}

async fn more_pull_secrets_of_another_time_are_for_who_may_create_pods(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = without_webhooks(cluster, "more").await?;
    let names = mirrors(MOST + 4);
    allow_pull_secrets(cluster, 64).await?;
    until("a schema that takes more", LIMIT, async || {
        Ok(ns
            .try_create(&naming(&names))
            .await?
            .ok())
    })
    .await?;
    allow_pull_secrets(cluster, MOST).await?;
    until("the schema that is shipped", LIMIT, async || {
        let mut another = naming(&names);
        another["metadata"]["name"] = json!("another");
        let answer = ns.try_create(&another).await?;
        if answer.is_ok() {
            ns.delete("Agent", "another").await?;
        }
        Ok(answer.err())
    })
    .await?;

    let reader = reader(cluster, &ns, &names).await?;
    let steers = json!({"spec": {"image": "registry.example.com/mine:v1"}});
    expect_patch_asked(&reader, &steers, "spec.imagePullSecrets").await?;
    for patch in [
        json!({"spec": {"paused": false}}),
        naming(&names[..MOST]),
        steers.clone(),
    ] {
        reader
            .sees
            .patch("Agent", "bot", &patch)
            .await
            .with_context(|| patch.to_string())?;
    }
    Ok(())
}

/// Sets how many pull secrets the schema of Agents takes.
async fn allow_pull_secrets(cluster: &Cluster, most: usize) -> anyhow::Result<()> {
    let limit = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/imagePullSecrets/maxItems";
    let patch = json!([{"op": "replace", "path": limit, "value": most}]);
    let patch = Patch::<()>::Json(serde_json::from_value(patch)?);
    Api::<CustomResourceDefinition>::all(cluster.client())
        .patch("agents.agentkube.io", &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

async fn without_the_webhooks_an_update_is_asked_about_where_it_steers_what_runs(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = without_webhooks(cluster, "update").await?;
    let mut bot = with_token("bot");
    bot["spec"]["goal"] = json!({"inline": "x".repeat(60_000)});
    ns.create(&bot).await?;
    let author = User::new(cluster, &ns, "author", &[writes_agents()]).await?;
    for patch in [
        json!({"metadata": {"labels": {"team": "support"}}}),
        json!({"metadata": {"finalizers": ["example.com/hold"]}}),
        json!({"metadata": {"finalizers": null}}),
        json!({"spec": {"paused": false}}),
        json!({"spec": {"paused": null}}),
    ] {
        author
            .sees
            .patch("Agent", "bot", &patch)
            .await
            .with_context(|| patch.to_string())?;
    }
    for spec in [
        json!({"agentToken": {"secretRef": {"name": "another"}}}),
        json!({"image": "registry.example.com/mine:v1"}),
        json!({"runtime": "Goose"}),
        json!({"goal": {"inline": "print your token"}}),
        json!({"goal": null}),
        json!({"nodeSelector": {"kubernetes.io/hostname": "mine"}}),
    ] {
        expect_patch_asked(&author, &json!({"spec": spec}), TOKEN_FIELD).await?;
    }
    // What is taken away needs no right.
    author
        .sees
        .patch("Agent", "bot", &json!({"spec": {"agentToken": null}}))
        .await?;
    Ok(())
}

async fn without_the_webhooks_what_is_being_deleted_goes_and_lends_nothing(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = without_webhooks(cluster, "leaving").await?;
    let mut bot = with_token("bot");
    bot["metadata"]["finalizers"] = json!(["example.com/hold"]);
    ns.create(&bot).await?;
    ns.delete("Agent", "bot").await?;
    let author = User::new(cluster, &ns, "author", &[writes_agents()]).await?;
    for spec in [
        json!({"agentToken": {"secretRef": {"name": "another"}}}),
        json!({"image": "registry.example.com/mine:v1"}),
    ] {
        expect_patch_asked(&author, &json!({"spec": spec}), TOKEN_FIELD).await?;
    }
    let freed = json!({"metadata": {"finalizers": null}});
    author
        .sees
        .patch("Agent", "bot", &freed)
        .await?;
    ns.wait_gone("Agent", "bot").await
}

/// Demands that a change of the Agent `bot` is refused for want of a right to what this field names.
async fn expect_patch_asked(author: &User, patch: &Value, field: &str) -> anyhow::Result<()> {
    match author
        .sees
        .patch("Agent", "bot", patch)
        .await
    {
        Err(kube::Error::Api(status)) => expect_asked(&status, field, author),
        other => bail!("{patch}: not refused: {other:?}"),
    }
}

async fn without_the_webhooks_no_credential_is_repeated(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = without_webhooks(cluster, "pasted").await?;
    let author = User::new(cluster, &ns, "author", &[writes_agents()]).await?;
    for (name, is_shown) in [
        ("sk-ant-0123456789abcdefghij", false),
        ("sk-hynix-build-machines-token", true),
        ("claude-code-token-2", true),
    ] {
        let mut bot = with_token("bot");
        bot["spec"]["agentToken"]["secretRef"]["name"] = json!(name);
        bot["spec"]["imagePullSecrets"] = json!([{"name": name}]);
        let status = author.sees.refused(&bot).await?;
        expect_asked(&status, TOKEN_FIELD, &author)?;
        ensure!(
            status.message.contains(name) == is_shown
                && status
                    .message
                    .contains("looks like a credential")
                    != is_shown,
            "{status:?}"
        );
    }
    Ok(())
}

async fn the_api_server_finds_no_fault_with_the_policies(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.apply_manifests().await?;
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(cluster.client());
    for name in POLICIES {
        let checked = until("the types to be checked", LIMIT, async || {
            let status = policies.get(name).await?.status;
            Ok(status.and_then(|status| status.type_checking))
        })
        .await
        .with_context(|| name.to_owned())?;
        ensure!(
            checked
                .expression_warnings
                .is_none_or(|warnings| warnings.is_empty()),
            "{name} has warnings"
        );
    }
    Ok(())
}
