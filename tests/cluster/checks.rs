//! What `agentkube manager --check` says about a cluster, and what a running manager says of the
//! same.

use std::path::Path;

use agentkube::server::certificates::issue::{CertificateAuthority, service_names};
use agentkube_playground::{Manager, ManagerOptions, until};
use anyhow::{Context, ensure};
use k8s_openapi::api::{
    admissionregistration::v1::{
        MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
        ValidatingWebhookConfiguration,
    },
    core::v1::Secret,
    rbac::v1::ClusterRole,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, LIMIT, NAMESPACE, REGISTRATION, SECRET},
    harness::{Test, tests},
    stranger::a_pod_of_the_deployment,
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane:
        a_healthy_installation_is_in_order,
        what_is_wrong_is_said_with_what_to_do,
        a_running_manager_says_once_what_is_wrong_and_keeps_a_metric,
        a_bundle_that_somebody_else_keeps_writing_is_left_to_them,
        a_certificate_of_a_directory_is_held_against_the_registrations,
    ]
}

async fn a_healthy_installation_is_in_order(cluster: &Cluster) -> anyhow::Result<()> {
    let options = ManagerOptions {
        name: a_pod_of_the_deployment(cluster).await?,
        ..cluster.manager_options(&[])
    };
    let _manager = cluster
        .start_manager_with(options)
        .await?;
    let account = check_as_account(cluster, &[]).await?;
    ensure!(account.succeeded, "{}", account.lines.join("\n"));
    let expected = [
        "ok       settings",
        "ok       api-server",
        "ok       crds",
        "ok       permissions    `system:serviceaccount:agentkube-system:agentkube-manager`",
        "ok       secret",
        "ok       certificate",
        "ok       registrations",
        "ok       ca-bundle",
        "ok       policies",
        "skipped  installations",
    ];
    account.begin_with(&expected)?;

    // Whoever may see more, is told more.
    let admin = check(cluster, cluster.control_plane.admin_kubeconfig(), &[]).await?;
    ensure!(admin.succeeded, "{}", admin.lines.join("\n"));
    admin.line("ok       installations")?;
    admin.line(
        "ok       permissions    `system:serviceaccount:agentkube-system:agentkube-manager`",
    )?;
    Ok(())
}

async fn what_is_wrong_is_said_with_what_to_do(cluster: &Cluster) -> anyhow::Result<()> {
    let admin = cluster.control_plane.admin_kubeconfig();
    // Somebody who is waited for costs each look some seconds.
    cluster.delete_lease().await?;

    // Settings, all at once, before anything is asked.
    let said = check(
        cluster,
        admin,
        &["--certificate-lifetime=2h", "--authority-lifetime=1h"],
    )
    .await?;
    ensure!(!said.succeeded, "{}", said.lines.join("\n"));
    said.line("error    settings       an authority with a lifetime of 3600 s")?;

    // A Secret of another type.
    cluster.delete_secret().await?;
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), NAMESPACE);
    let wrong = json!({"metadata": {"name": SECRET}, "type": "Opaque", "stringData": {"tls.crt": "nonsense"}});
    secrets
        .create(&PostParams::default(), &serde_json::from_value(wrong)?)
        .await?;
    let said = check(cluster, admin, &[]).await?;
    said.line("warning  secret         `agentkube-webhook-tls` is a Secret of type Opaque")?;
    said.line(
        "warning  certificate    `agentkube-webhook-tls` holds no certificate that can be served",
    )?;
    cluster.delete_secret().await?;

    // A certificate of a directory that is not there.
    let said = check(cluster, admin, &["--tls-dir=/nowhere"]).await?;
    ensure!(!said.succeeded, "{}", said.lines.join("\n"));
    said.line("error    certificate    `/nowhere/tls.crt` cannot be read")?;

    // A second installation: registrations that point at its namespace, and one of its own name.
    point_elsewhere(cluster).await?;
    let said = check(cluster, admin, &[]).await;
    point_back(cluster).await?;
    let said = said?;
    ensure!(!said.succeeded, "{}", said.lines.join("\n"));
    said.line("error    registrations  `agents.agentkube.io` of MutatingWebhookConfiguration `agentkube-manager` points at the namespace `elsewhere`")?;

    let mutating: Api<MutatingWebhookConfiguration> = Api::all(cluster.client());
    let mut second = mutating.get(REGISTRATION).await?;
    second.metadata = serde_json::from_value(json!({"name": "another-manager"}))?;
    mutating
        .create(&PostParams::default(), &second)
        .await?;
    let said = check(cluster, admin, &[]).await;
    mutating
        .delete("another-manager", &DeleteParams::default())
        .await?;
    let said = said?;
    ensure!(!said.succeeded, "{}", said.lines.join("\n"));
    said.line("error    installations  there is another installation: MutatingWebhookConfiguration `another-manager`")?;

    expect_policies_checked(cluster, admin).await?;

    // A permission that somebody took away.
    let roles: Api<ClusterRole> = Api::all(cluster.client());
    let role = roles.get(REGISTRATION).await?;
    let mut less = role.clone();
    for rule in less.rules.iter_mut().flatten() {
        if rule
            .resources
            .iter()
            .flatten()
            .any(|resource| resource == "mutatingwebhookconfigurations")
        {
            rule.verbs
                .retain(|verb| verb != "patch");
        }
    }
    roles
        .replace(REGISTRATION, &PostParams::default(), &less)
        .await?;
    let said = until("the permission to be missed", LIMIT, async || {
        let said = check_as_account(cluster, &[]).await?;
        Ok((!said.succeeded).then_some(said))
    })
    .await;
    let mut back = roles.get(REGISTRATION).await?;
    back.rules = role.rules;
    roles
        .replace(REGISTRATION, &PostParams::default(), &back)
        .await?;
    let said = said?;
    let line = said.line("error    permissions")?;
    ensure!(
        line.contains("patch mutatingwebhookconfigurations `agentkube-manager`")
            && line.contains("(hint: `kubectl apply -k manifests/` restores them)"),
        "{line}"
    );
    Ok(())
}

/// A policy that somebody edited, one that is not bound, and one that the settings do not want.
async fn expect_policies_checked(cluster: &Cluster, admin: &Path) -> anyhow::Result<()> {
    const NAME: &str = "agentkube-agent-references";
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(cluster.client());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(cluster.client());
    check(cluster, admin, &[])
        .await?
        .line("ok       policies")?;
    let ignoring = json!({"spec": {"failurePolicy": "Ignore"}});
    policies
        .patch(NAME, &PatchParams::default(), &Patch::Merge(&ignoring))
        .await?;
    let edited = check(cluster, admin, &[]).await?;
    bindings
        .delete(NAME, &DeleteParams::default())
        .await?;
    let unbound = check(cluster, admin, &[]).await?;
    cluster.apply_manifests().await?;
    ensure!(!edited.succeeded, "{}", edited.lines.join("\n"));
    edited.line("error    policies       ValidatingAdmissionPolicy `agentkube-agent-references` differs from that of this version")?;
    unbound.line("error    policies       ValidatingAdmissionPolicyBinding `agentkube-agent-references` does not exist")?;
    check(cluster, admin, &[])
        .await?
        .line("ok       policies")?;
    Ok(())
}

async fn a_running_manager_says_once_what_is_wrong_and_keeps_a_metric(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let options = ManagerOptions {
        args: vec!["--check-interval=1s".to_owned()],
        ..cluster.manager_options(&[])
    };
    let manager = cluster
        .start_manager_with(options)
        .await?;
    problem(&manager, "registrations", 0).await?;

    point_elsewhere(cluster).await?;
    problem(&manager, "registrations", 1).await?;
    // A later look sees the second registration gone, too, and says nothing more of the first.
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(cluster.client());
    validating
        .delete(REGISTRATION, &DeleteParams::default())
        .await?;
    until("the other to be missed", LIMIT, async || {
        let log = manager.log();
        let missed =
            log.contains("ValidatingWebhookConfiguration `agentkube-manager` does not exist");
        Ok(missed.then_some(()))
    })
    .await?;
    let log = manager.log();
    let said = log
        .lines()
        .filter(|line| line.contains("points at the namespace") && line.contains("Mutating"))
        .count();
    ensure!(said == 1, "said {said} times:\n{log}");

    point_back(cluster).await?;
    problem(&manager, "registrations", 0).await?;
    ensure!(
        manager
            .log()
            .contains("the problem is solved"),
        "{}",
        manager.log()
    );
    Ok(())
}

async fn a_bundle_that_somebody_else_keeps_writing_is_left_to_them(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let manager = cluster.start_manager(&[]).await?;
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(cluster.client());
    let ours = bundle(&mutating.get(REGISTRATION).await?)?;
    let now = jiff::Timestamp::now();
    let hour = std::time::Duration::from_secs(3600);
    let rival = CertificateAuthority::new(hour, now)?;
    let theirs = rival
        .certificate_pem()
        .as_bytes()
        .to_vec();

    // Twice it is put back.
    for round in 1..=2 {
        overwrite(&mutating, &theirs).await?;
        until("ours to come back", LIMIT, async || {
            let live = bundle(&mutating.get(REGISTRATION).await?)?;
            Ok((live == ours).then_some(()))
        })
        .await
        .with_context(|| format!("round {round}:\n{}", manager.log()))?;
    }
    // The third time it is left, and said.
    overwrite(&mutating, &theirs).await?;
    problem(&manager, "ca-bundle", 1).await?;
    let version = mutating
        .get(REGISTRATION)
        .await?
        .metadata
        .resource_version;
    let log = manager.log();
    ensure!(
        log.contains("keeps being written by `rival` and is left to it"),
        "{log}"
    );
    // The other registration is nobody's business but ours, and a change of it is followed: by then
    // this one would have been written, too.
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(cluster.client());
    let wipe = json!([{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]);
    validating
        .patch(
            REGISTRATION,
            &PatchParams::default(),
            &Patch::<()>::Json(serde_json::from_value(wipe)?),
        )
        .await?;
    until("the other bundle to come back", LIMIT, async || {
        let live = validating.get(REGISTRATION).await?;
        let is_there = live
            .webhooks
            .iter()
            .flatten()
            .all(|webhook| {
                webhook
                    .client_config
                    .ca_bundle
                    .is_some()
            });
        Ok(is_there.then_some(()))
    })
    .await?;
    let live = mutating.get(REGISTRATION).await?;
    ensure!(
        live.metadata.resource_version == version && bundle(&live)? == theirs,
        "it was written again"
    );
    // Wiped, it is ours again.
    let wipes: Vec<_> = (0..live.webhooks.iter().flatten().count())
        .map(|index| json!({"op": "remove", "path": format!("/webhooks/{index}/clientConfig/caBundle")}))
        .collect();
    mutating
        .patch(
            REGISTRATION,
            &PatchParams::default(),
            &Patch::<()>::Json(serde_json::from_value(Value::Array(wipes))?),
        )
        .await?;
    until("ours to come back", LIMIT, async || {
        let live = mutating.get(REGISTRATION).await?;
        Ok(bundle(&live)
            .is_ok_and(|live| live == ours)
            .then_some(()))
    })
    .await?;
    problem(&manager, "ca-bundle", 0).await
}

async fn a_certificate_of_a_directory_is_held_against_the_registrations(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    // Puts its authority into the registrations, and says so in the Secret.
    let mut manager = cluster.start_manager(&[]).await?;
    manager.stop().await;
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), NAMESPACE);
    let data = secrets
        .get(SECRET)
        .await?
        .data
        .unwrap_or_default();
    let field = |key: &str| {
        data.get(key)
            .map_or(&[] as &[u8], |value| &value.0)
    };
    let admin = cluster.control_plane.admin_kubeconfig();
    let directory = tempfile::tempdir()?;
    let flag = format!("--tls-dir={}", directory.path().display());
    let looked_at = async |chain: &[u8], key: &[u8]| {
        std::fs::write(directory.path().join("tls.crt"), chain)?;
        std::fs::write(directory.path().join("tls.key"), key)?;
        check(cluster, admin, &[&flag]).await
    };

    let said = looked_at(field("tls.crt"), field("tls.key")).await?;
    ensure!(said.succeeded, "{}", said.lines.join("\n"));
    said.line("ok       certificate")?;

    let hour = std::time::Duration::from_secs(3600);
    let mut names = service_names(REGISTRATION, NAMESPACE);
    names.push("127.0.0.1".to_owned());
    let now = jiff::Timestamp::now();
    let ours = CertificateAuthority::from_pem(field("ca.crt"), field("ca.key"), now)?;
    let stranger = CertificateAuthority::new(hour, now)?;
    for (authority, from, what) in [
        (
            &stranger,
            now,
            "the API server does not trust the certificate in",
        ),
        (&ours, now - hour * 2, "the certificate expired at"),
        (&ours, now + hour * 2, "the certificate is not valid before"),
    ] {
        let leaf = authority.issue(&names, hour, from)?;
        let said = looked_at(leaf.chain_pem.as_bytes(), leaf.key_pem.as_bytes()).await?;
        ensure!(!said.succeeded, "{}", said.lines.join("\n"));
        let line = said.line("error    certificate")?;
        ensure!(line.contains(what) && line.contains("(hint: "), "{line}");
    }
    Ok(())
}

/// What was printed, line by line.
pub(crate) struct Checked {
    pub(crate) succeeded: bool,
    lines: Vec<String>,
}

impl Checked {
    pub(crate) fn line(&self, start: &str) -> anyhow::Result<&str> {
        self.lines
            .iter()
            .find(|line| line.starts_with(start))
            .map(String::as_str)
            .with_context(|| format!("no line `{start}`:\n{}", self.lines.join("\n")))
    }

    fn begin_with(&self, starts: &[&str]) -> anyhow::Result<()> {
        for start in starts {
            self.line(start)?;
        }
        ensure!(
            self.lines.len() == starts.len(),
            "more:\n{}",
            self.lines.join("\n")
        );
        Ok(())
    }
}

pub(crate) async fn check(
    cluster: &Cluster,
    kubeconfig: &Path,
    arguments: &[&str],
) -> anyhow::Result<Checked> {
    let output = tokio::process::Command::new(cluster.manager_options(&[]).binary)
        .args(["manager", "--check", "--serving-name=127.0.0.1"])
        .args(arguments)
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .output()
        .await?;
    let lines = String::from_utf8(output.stdout)?
        .lines()
        .map(str::to_owned)
        .collect();
    Ok(Checked {
        succeeded: output.status.success(),
        lines,
    })
}

async fn check_as_account(cluster: &Cluster, arguments: &[&str]) -> anyhow::Result<Checked> {
    let words = [
        "create",
        "token",
        "agentkube-manager",
        "--namespace",
        NAMESPACE,
    ];
    let token = cluster
        .kubectl(&words, "")
        .await?
        .stdout;
    let kubeconfig = cluster
        .control_plane
        .kubeconfig_for("check", token.trim())?;
    check(cluster, &kubeconfig, arguments).await
}

/// Registrations that point at a Service of another namespace, as a second installation's would.
async fn point_elsewhere(cluster: &Cluster) -> anyhow::Result<()> {
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(cluster.client());
    let mut registration = mutating.get(REGISTRATION).await?;
    for webhook in registration
        .webhooks
        .iter_mut()
        .flatten()
    {
        webhook.client_config.url = None;
        webhook.client_config.service = Some(serde_json::from_value(json!({
            "namespace": "elsewhere", "name": "agentkube-manager", "path": "/mutate",
        }))?);
    }
    mutating
        .replace(REGISTRATION, &PostParams::default(), &registration)
        .await?;
    Ok(())
}

/// Applies the registrations anew. One that has a Service has to go first: it may not have a URL
/// beside it.
async fn point_back(cluster: &Cluster) -> anyhow::Result<()> {
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(cluster.client());
    mutating
        .delete(REGISTRATION, &DeleteParams::default())
        .await?;
    cluster
        .installation
        .lock()
        .await
        .point_webhooks_at(cluster.webhook_port())
        .await
}

/// Waits until the metric of a check says this.
async fn problem(manager: &Manager, check: &str, count: u32) -> anyhow::Result<()> {
    let line = format!("agentkube_problems{{check=\"{check}\"}} ");
    until(&format!("{line}{count}"), LIMIT, async || {
        let metrics = manager.metrics().await?;
        let value = metrics
            .lines()
            .find_map(|found| found.strip_prefix(&line))
            .context("no such series")?;
        let holds = match count {
            0 => value == "0",
            _ => value != "0",
        };
        Ok(holds.then_some(()))
    })
    .await
    .with_context(|| manager.log())
}

fn bundle(registration: &MutatingWebhookConfiguration) -> anyhow::Result<Vec<u8>> {
    let webhook = registration
        .webhooks
        .iter()
        .flatten()
        .next()
        .context("no webhook")?;
    let bundle = webhook
        .client_config
        .ca_bundle
        .as_ref()
        .context("no caBundle")?;
    Ok(bundle.0.clone())
}

/// Writes the bundle of every webhook, as another program would.
async fn overwrite(
    mutating: &Api<MutatingWebhookConfiguration>,
    bundle: &[u8],
) -> anyhow::Result<()> {
    let mut registration = mutating.get(REGISTRATION).await?;
    for webhook in registration
        .webhooks
        .iter_mut()
        .flatten()
    {
        webhook.client_config.ca_bundle = Some(k8s_openapi::ByteString(bundle.to_vec()));
    }
    let patch = json!({"webhooks": registration.webhooks});
    let params = PatchParams {
        field_manager: Some("rival".to_owned()),
        ..PatchParams::default()
    };
    mutating
        .patch(REGISTRATION, &params, &Patch::Merge(&patch))
        .await?;
    Ok(())
}
