//! Lines of `docs/threat-model.md`. Those of authors' rights are in `authority`, of credentials in
//! `secrets`, of the manager's own rights in `rights`.

use agentkube_playground::until;
use anyhow::{Context, ensure};
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, LIMIT, Namespace, agent, expect_refusal, images, pod, pod_of},
    harness::{Test, tests},
    users::{User, is_allowed, may, writes_agents},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![Manager:
        no_secret_of_another_namespace_is_wired,
        a_pod_that_claims_to_be_an_agents_gets_what_its_creator_could_have_anyway,
        a_debug_container_gets_what_its_creator_could_have_anyway,
        forged_annotations_and_labels_change_nothing,
        where_the_webhooks_are_not_called_there_is_no_pod,
        nobody_but_the_manager_writes_what_was_refused,
    ]
}

const IMAGES: &str = "agentkube.io/images";

/// An Agent with a token.
fn bot() -> Value {
    let token = json!({"secretRef": {"name": "token", "key": "key"}});
    agent("bot", &json!({"runtime": "Codex", "agentToken": token}))
}

/// The containers of a pod that asks for its Agent's image.
fn asking() -> Value {
    json!({"containers": [{"name": "agent", "image": "agentkube.invalid/agent"}]})
}

/// A pod that says by its label that it is the Agent's.
fn labelled(name: &str) -> Value {
    pod(name, &json!({"agentkube.io/agent": "bot"}), &asking())
}

/// The variable that brings the token.
fn wired() -> Value {
    json!({
        "name": "OPENAI_API_KEY",
        "valueFrom": {"secretKeyRef": {"name": "token", "key": "key"}},
    })
}

async fn no_secret_of_another_namespace_is_wired(cluster: &Cluster) -> anyhow::Result<()> {
    let theirs = cluster.namespace("theirs").await?;
    let ours = cluster.namespace("ours").await?;
    theirs.create(&bot()).await?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"key": "v"},
    });
    theirs.create(&secret).await?;

    // No name leads out of the namespace, ...
    for name in [
        format!("{}/token", theirs.name),
        format!("../{}/secrets/token", theirs.name),
        format!("{}%2Ftoken", theirs.name),
    ] {
        let mut lender = bot();
        lender["spec"]["agentToken"]["secretRef"]["name"] = json!(name);
        let status = ours.refused(&lender).await?;
        expect_refusal(
            &status,
            "InvalidSecretRef",
            "spec.agentToken.secretRef.name",
        )?;
    }
    // ... there is no field for another one, ...
    let mut lender = bot();
    lender["spec"]["agentToken"]["secretRef"]["namespace"] = json!(theirs.name);
    lender["spec"]["paused"] = json!(false);
    let created = ours.create(&lender).await?;
    ensure!(
        created["spec"]["agentToken"]["secretRef"] == json!({"name": "token", "key": "key"}),
        "{created:#}"
    );
    let running = ours
        .wait("Pod", "bot", "to be there", |_| true)
        .await?;
    ensure!(
        running["metadata"]["namespace"] == ours.name
            && running["spec"]["containers"][0]["env"] == json!([wired()]),
        "{running:#}"
    );
    // ... and no pod gets an Agent of another one.
    let alone = cluster.namespace("alone").await?;
    let status = alone
        .refused(&labelled("guest"))
        .await?;
    expect_refusal(
        &status,
        "UnknownAgent",
        "metadata.labels[agentkube.io/agent]",
    )
}

async fn a_pod_that_claims_to_be_an_agents_gets_what_its_creator_could_have_anyway(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("claims").await?;
    let bot = ns.create(&bot()).await?;
    // Who may not create pods cannot claim anything.
    let author = User::new(cluster, &ns, "author", &[writes_agents()]).await?;
    let status = author
        .sees
        .refused(&pod_of(&bot, "mine", &asking()))
        .await?;
    ensure!(
        status.code == 403
            && status
                .message
                .contains("cannot create resource \"pods\""),
        "{status:?}"
    );
    // Who may, without reading a Secret, gets the token that they could write into a pod themselves.
    let runner = User::new(cluster, &ns, "runner", &[may("create", "pods")]).await?;
    let claimed = runner
        .sees
        .create(&pod_of(&bot, "claimed", &asking()))
        .await?;
    let own = json!({"containers": [{"name": "agent", "image": "nginx:1.27", "env": [wired()]}]});
    let written = runner
        .sees
        .create(&pod("written", &json!({}), &own))
        .await?;
    let env = |pod: &Value| pod["spec"]["containers"][0]["env"].clone();
    ensure!(
        env(&claimed) == json!([wired()]) && env(&claimed) == env(&written),
        "{claimed:#}"
    );
    for field in ["serviceAccountName", "volumes", "imagePullSecrets"] {
        let of = |pod: &Value| match pod["spec"][field].as_array() {
            // The volume of the account's token has a name made up.
            Some(list) => json!(list.len()),
            None => pod["spec"][field].clone(),
        };
        ensure!(of(&claimed) == of(&written), "{field}: {claimed:#}");
    }
    Ok(())
}

async fn a_debug_container_gets_what_its_creator_could_have_anyway(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let ns = cluster.namespace("debug").await?;
    let bot = ns.create(&bot()).await?;
    ns.create(&pod_of(&bot, "running", &asking()))
        .await?;
    let rules = [
        json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}),
        may("patch", "pods/ephemeralcontainers"),
    ];
    let debugger = User::new(cluster, &ns, "debugger", &rules).await?;
    let pods = debugger.sees.api("Pod");
    for (name, image, env) in [
        ("claimed", "agentkube.invalid/agent", json!([])),
        ("written", "nginx:1.27", json!([wired()])),
    ] {
        let containers = json!({"spec": {"ephemeralContainers": [{
            "name": name, "image": image, "env": env, "command": ["env"],
        }]}});
        let patch = Patch::Strategic(containers);
        pods.patch_subresource(
            "ephemeralcontainers",
            "running",
            &PatchParams::default(),
            &patch,
        )
        .await
        .with_context(|| name.to_owned())?;
    }
    let seen = ns
        .get("Pod", "running")
        .await?
        .context("the pod")?;
    for container in seen["spec"]["ephemeralContainers"]
        .as_array()
        .context("ephemeral containers")?
    {
        ensure!(container["env"] == json!([wired()]), "{container:#}");
    }
    Ok(())
}

async fn forged_annotations_and_labels_change_nothing(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster.namespace("forged").await?;
    let bot = ns.create(&bot()).await?;
    let honest = ns
        .create(&pod_of(&bot, "honest", &asking()))
        .await?;
    let decision = json!([{
        "container": "agent", "component": "Codex", "source": "override",
        "image": "registry.example.com/evil:v1", "variable": "AGENTKUBE_IMAGE_CODEX",
    }]);
    for (name, annotations) in [
        ("decision", json!({IMAGES: decision.to_string()})),
        ("garbage", json!({IMAGES: "[{\"container\": 5"})),
    ] {
        let mut forged = pod_of(&bot, name, &asking());
        for (name, value) in annotations
            .as_object()
            .context("annotations")?
        {
            forged["metadata"]["annotations"][name] = value.clone();
        }
        forged["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("agentkube");
        forged["metadata"]["labels"]["agentkube.io/agentgroup"] = json!("masters");
        let created = ns
            .create(&forged)
            .await
            .with_context(|| name.to_owned())?;
        ensure!(
            created["spec"]["containers"] == with_its_token(&honest, &created),
            "{name}: {created:#}"
        );
        ensure!(
            created["metadata"]["annotations"][IMAGES] == honest["metadata"]["annotations"][IMAGES],
            "{name}: {created:#}"
        );
    }
    // A state that the Agent is not in fills nothing.
    for (generation, said) in [
        ("0", "has changed since"),
        ("9000", "has changed since"),
        ("many", "does not control this pod"),
    ] {
        let mut forged = pod_of(&bot, "stale", &asking());
        forged["metadata"]["annotations"]["agentkube.io/agent-generation"] = json!(generation);
        let status = ns.refused(&forged).await?;
        ensure!(status.message.contains(said), "{status:?}");
    }
    // A record that is forged later makes the Agent's own status wrong, and nothing else: what the
    // reconciler creates comes from the rules alone.
    let armed = json!({"spec": {"paused": false}});
    ns.patch("Agent", "bot", &armed).await?;
    ns.wait_running("bot").await?;
    let forgery = json!({"metadata": {"annotations": {IMAGES: decision.to_string()}}});
    ns.patch("Pod", "bot", &forgery).await?;
    ns.delete("Pod", "bot").await?;
    let fresh = ns
        .wait("Pod", "bot", "to be created anew", |pod| {
            pod["metadata"]["annotations"][IMAGES] != forgery["metadata"]["annotations"][IMAGES]
        })
        .await?;
    ensure!(images(&fresh)[0].1 == images(&honest)[0].1, "{fresh:#}");
    Ok(())
}

/// The containers of a pod, with the mount of the account's token of another one, whose name the
/// API server makes up.
fn with_its_token(honest: &Value, created: &Value) -> Value {
    let mut containers = honest["spec"]["containers"].clone();
    let mounts = &created["spec"]["containers"][0]["volumeMounts"];
    containers[0]["volumeMounts"] = mounts.clone();
    containers
}

async fn where_the_webhooks_are_not_called_there_is_no_pod(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    for name in ["kube-system", "agentkube-system"] {
        let ns = Namespace {
            client: cluster.client(),
            name: name.to_owned(),
        };
        let mut lender = bot();
        lender["metadata"]["name"] = json!("outside");
        lender["spec"]["paused"] = json!(false);
        ns.create(&lender).await?;
        let told = ns
            .wait_ready("Agent", "outside", "NotServed")
            .await;
        let pod = ns.get("Pod", "outside").await?;
        ns.delete("Agent", "outside").await?;
        told?;
        ensure!(pod.is_none(), "{pod:#?}");
    }
    Ok(())
}

async fn nobody_but_the_manager_writes_what_was_refused(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = cluster.namespace("trail").await?;
    let admin = User::new(cluster, &ns, "admin", &[writes_agents()]).await?;
    ns.create(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "admin-of-the-namespace"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{
            "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": admin.name,
        }],
    }))
    .await?;
    let asked = |verb: &str| ResourceAttributes {
        group: Some("agentkube.io".to_owned()),
        namespace: Some(ns.name.clone()),
        resource: Some("rejections".to_owned()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let client = &admin.sees.client;
    // The controller that aggregates roles takes a moment.
    until(
        "the namespace's admin to read Rejections",
        LIMIT,
        async || {
            Ok(is_allowed(client, &asked("list"))
                .await?
                .then_some(()))
        },
    )
    .await?;
    for verb in ["create", "update", "patch", "delete", "deletecollection"] {
        ensure!(
            !is_allowed(client, &asked(verb)).await?,
            "an admin of a namespace may {verb}"
        );
    }
    Ok(())
}
