//! `docs/client-authentication.md`, done as it says with the component `client-auth`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use agentkube_playground::{ControlPlaneOptions, Manager};
use http::{Request, header};
use kube::{Client, Config, config::AuthInfo};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{ground::Ground, list, needed};

const PAGE: &str = include_str!("../../docs/client-authentication.md");

/// Where the page has the files of a control plane node.
const NODE: &str = "/etc/kubernetes/webhooks";

/// The host that is called in a cluster. Here the registrations name addresses, and the page says what is for every host.
const HOST: &str = "name: agentkube-manager.agentkube-system.svc";

#[tokio::test(flavor = "multi_thread")]
async fn with_the_component_the_api_server_is_answered_and_nobody_else() {
    let Some(node) = Node::prepare() else {
        return;
    };
    let options = ControlPlaneOptions {
        extra_apiserver_args: vec![format!(
            "--admission-control-config-file={}",
            node.path("admission.yaml").display()
        )],
        ..ControlPlaneOptions::default()
    };
    let Some(ground) = Ground::start_with(options, &["client-auth"], "").await else {
        return;
    };
    ground.follow("Install", 0).await;
    fs::copy(node.path("webhook-ca.crt"), ground.path("webhook-ca.crt")).expect("a copy");
    ground.expect(&block(4)).await;

    let args = arguments(&ground).await;
    assert!(
        args.iter()
            .any(|arg| arg.starts_with("--client-ca=/")),
        "{args:?}"
    );
    let args: Vec<_> = args
        .iter()
        .map(String::as_str)
        .collect();
    let manager = ground.manager(&args).await;
    ground.until_admitting().await;

    let refused = ask(&ground, &manager, None).await;
    assert!(refused.is_err(), "answered: {refused:?}");
    // For want of the certificate, and of nothing else.
    let answered = ask(&ground, &manager, Some(&node)).await;
    assert!(
        answered.is_ok_and(|answer| answer["response"]["allowed"] == true),
        "{}",
        manager.log()
    );
    // Whoever was refused changes nothing for the API server.
    ground.until_admitting().await;
}

/// The arguments of the Deployment that was applied, with the files that its `ConfigMap`s bring, as the kubelet has it.
async fn arguments(ground: &Ground) -> Vec<String> {
    let read = async |what: &str| -> Value {
        let line = format!("kubectl get {what} --namespace agentkube-system --output json");
        serde_json::from_str(&ground.expect(&line).await).expect("JSON")
    };
    let deployment = read("deployment agentkube-manager").await;
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let mut args: Vec<_> = list(&container["args"])
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    for mount in list(&container["volumeMounts"]) {
        let volume = list(&pod["volumes"])
            .iter()
            .find(|volume| volume["name"] == mount["name"])
            .expect("a volume for each mount");
        let Some(name) = volume["configMap"]["name"].as_str() else {
            continue;
        };
        let folder = ground.path(name);
        fs::create_dir(&folder).expect("a folder");
        let data = &read(&format!("configmap {name}")).await["data"];
        for (file, content) in data.as_object().expect("files") {
            fs::write(folder.join(file), content.as_str().expect("text")).expect("a file");
        }
        let inside = mount["mountPath"]
            .as_str()
            .expect("a path");
        for arg in &mut args {
            *arg = arg.replace(inside, folder.to_str().expect("text"));
        }
    }
    // The first is the command, which whoever starts a manager gives by himself.
    assert_eq!(args.remove(0), "manager");
    args
}

/// Asks the manager for a decision as somebody in the cluster may, with the certificate of the node or with none.
async fn ask(
    ground: &Ground,
    manager: &Manager,
    node: Option<&Node>,
) -> Result<Value, kube::Error> {
    let authority = "kubectl get secret agentkube-webhook-tls --namespace agentkube-system --output jsonpath='{.data.ca\\.crt}' | base64 --decode";
    ground.write("served-by.crt", &ground.expect(authority).await);
    let url = format!("https://127.0.0.1:{}", manager.webhook_port());
    let mut config = Config::new(url.parse().expect("a URL"));
    config.root_cert_file = Some(ground.path("served-by.crt"));
    config.proxy_url = None;
    if let Some(node) = node {
        config.auth_info = AuthInfo {
            client_certificate: Some(node.text("client.crt")),
            client_key: Some(node.text("client.key")),
            ..AuthInfo::default()
        };
    }
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "6b2f2a2e-0000-4000-8000-000000000004",
            "kind": {"group": "agentkube.io", "version": "v1alpha1", "kind": "Agent"},
            "resource": {"group": "agentkube.io", "version": "v1alpha1", "resource": "agents"},
            "operation": "CREATE", "namespace": "default", "name": "bot",
            "userInfo": {"username": "mallory"},
            "object": {
                "apiVersion": "agentkube.io/v1alpha1", "kind": "Agent",
                "metadata": {"name": "bot", "namespace": "default"}, "spec": {"runtime": "Codex"},
            },
        },
    });
    let request = Request::post("/mutate?timeout=10s")
        .header(header::CONTENT_TYPE, "application/json")
        .body(review.to_string().into_bytes())
        .expect("a request");
    Client::try_from(config)?
        .request(request)
        .await
}

/// What the page has on a control plane node.
struct Node(TempDir);

impl Node {
    /// Does the first three steps.
    fn prepare() -> Option<Self> {
        let node = Self(tempfile::tempdir().expect("a folder"));
        let made = Command::new("bash")
            .args(["-euc", &format!("command -v openssl\n{}", block(0))])
            .current_dir(node.0.path())
            .output()
            .expect("bash runs");
        let made = if made.stdout.is_empty() {
            Err(anyhow::anyhow!("there is no `openssl`"))
        } else {
            Ok(made)
        };
        let made = needed(made)?;
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let here = node.0.path().to_str().expect("text");
        for (file, number) in [("kubeconfig", 1), ("admission.yaml", 2)] {
            let text = block(number)
                .replace(NODE, here)
                .replace(HOST, "name: '*'");
            fs::write(node.path(file), text).expect("the file is written");
        }
        Some(node)
    }

    fn path(&self, file: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(file)
    }

    /// The path of a file, as text.
    fn text(&self, file: &str) -> String {
        let path = self.path(file);
        path.to_str().expect("text").to_owned()
    }
}

/// A block of the page, counted from 0, without its indentation.
fn block(number: usize) -> String {
    let fence = |line: &&str| line.trim_start().starts_with("```");
    let mut lines = PAGE.lines();
    for _ in 0..number {
        lines
            .by_ref()
            .find(fence)
            .expect("a block");
        lines
            .by_ref()
            .find(fence)
            .expect("its end");
    }
    let indent = lines
        .by_ref()
        .find(fence)
        .map_or(0, |line| line.len() - line.trim_start().len());
    lines
        .take_while(|line| !fence(line))
        .fold(String::new(), |text, line| {
            text + line.get(indent..).unwrap_or_default() + "\n"
        })
}
