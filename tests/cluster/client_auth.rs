//! Webhooks that only the API server may call: it shows a certificate, as an admission
//! configuration file tells it to.

use std::{fs, path::PathBuf};

use agentkube_playground::{Manager, ManagerOptions, until};
use anyhow::{Context, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    cluster::{Cluster, LIMIT, agent},
    direct::{Direct, creation},
    harness::{Test, tests},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![ControlPlane: only_an_api_server_with_the_right_certificate_is_answered]
}

const NAME: &str = "kube-apiserver-webhook-client";

/// Everything in one test: it needs a control plane of its own, whose API server was told.
async fn only_an_api_server_with_the_right_certificate_is_answered(
    _: &Cluster,
) -> anyhow::Result<()> {
    let files = Files::new()?;
    let configuration = files.write("admission.yaml", &files.configuration())?;
    let flag = format!(
        "--admission-control-config-file={}",
        configuration.display()
    );
    let cluster = Cluster::start_with(vec![flag]).await?;
    let options = ManagerOptions {
        args: vec![
            format!("--client-ca={}", files.path("ca.crt").display()),
            format!("--client-name={NAME}"),
        ],
        ..cluster.manager_options(&[])
    };
    // Waits until the webhooks answer, and so shows that the API server is let in.
    let manager = cluster
        .start_manager_with(options)
        .await?;

    // Somebody else in the cluster is not, although it can reach the port.
    let direct = Direct::to(&cluster, &manager).await?;
    let asked = creation("default", "bot", "mallory", &json!({"runtime": "Codex"}));
    let answer = direct.ask("mutate", &asked).await;
    ensure!(answer.is_err(), "answered: {answer:?}");
    until("the refusal to be counted", LIMIT, async || {
        let count = count(
            &manager.metrics().await?,
            "agentkube_client_certificates_refused_total",
        )?;
        Ok((count >= 1.0).then_some(()))
    })
    .await?;
    ensure!(
        manager
            .log()
            .contains("a client of the webhook port was rejected because of its certificate"),
        "{}",
        manager.log()
    );
    // Probes and metrics ask nobody for a certificate, and other clients change nothing for the
    // API server.
    let namespace = cluster.namespace("client-auth").await?;
    namespace
        .create(&agent("bot", &json!({"runtime": "Codex"})))
        .await?;

    // A manager with an authority that did not sign the API server's certificate, as after a wrong
    // rotation. It is another one, because open connections go on.
    drop(manager);
    let (wrong, _) = authority("wrong")?;
    let file = files.write("rotated.crt", &wrong)?;
    let options = ManagerOptions {
        name: "agentkube-manager-2".to_owned(),
        args: vec![format!("--client-ca={}", file.display())],
        ..cluster.manager_options(&[])
    };
    let manager = Manager::start(&cluster.control_plane, options).await?;
    // The alert and the API server's request cross, so that now and then it only knows that the
    // connection has ended.
    until("the API server to be refused", LIMIT, async || {
        let object = agent("late", &json!({"runtime": "Codex"}));
        let answer = namespace.try_create(&object).await?;
        let said = answer
            .err()
            .map(|status| status.message);
        let is_told = said.is_some_and(|said| said.contains("tls: unknown certificate authority"));
        Ok(is_told.then_some(()))
    })
    .await
    .with_context(|| manager.log())?;
    // Both authorities, as a rotation has it: no restart is needed.
    let right = fs::read_to_string(files.path("ca.crt"))?;
    files.write("rotated.crt", &format!("{wrong}{right}"))?;
    cluster
        .installation
        .lock()
        .await
        .until_webhooks_answer()
        .await
        .with_context(|| manager.log())?;
    cluster.control_plane.stop().await;
    Ok(())
}

fn count(metrics: &str, series: &str) -> anyhow::Result<f64> {
    let line = metrics
        .lines()
        .find(|line| line.starts_with(series))
        .with_context(|| format!("no {series}"))?;
    Ok(line
        .rsplit(' ')
        .next()
        .context("no value")?
        .parse()?)
}

/// What an administrator puts beside the API server.
struct Files(TempDir);

impl Files {
    fn new() -> anyhow::Result<Self> {
        let files = Self(tempfile::tempdir()?);
        let (ca, issuer) = authority("webhook clients")?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, NAME);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        files.write("ca.crt", &ca)?;
        files.write("client.crt", &certificate.pem())?;
        files.write("client.key", &key.serialize_pem())?;
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config",
            // In a cluster this is the host of the Service; here the registrations name addresses.
            "users": [{"name": "*", "user": {
                "client-certificate": files.path("client.crt"),
                "client-key": files.path("client.key"),
            }}],
        });
        files.write("webhooks.kubeconfig", &kubeconfig.to_string())?;
        Ok(files)
    }

    fn configuration(&self) -> String {
        let plugin = |name: &str| {
            json!({"name": name, "configuration": {
                "apiVersion": "apiserver.config.k8s.io/v1", "kind": "WebhookAdmissionConfiguration",
                "kubeConfigFile": self.path("webhooks.kubeconfig"),
            }})
        };
        json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration",
            "plugins": [plugin("MutatingAdmissionWebhook"), plugin("ValidatingAdmissionWebhook")],
        })
        .to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        fs::write(self.path(name), text)?;
        Ok(self.path(name))
    }
}

fn authority(name: &str) -> anyhow::Result<(String, Issuer<'static, KeyPair>)> {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok((pem, Issuer::new(params, key)))
}
