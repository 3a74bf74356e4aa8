//! A vocabulary for tests on a real API server.

use std::{
    fmt::Debug,
    path::PathBuf,
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use agentkube_playground::{
    Binaries, ControlPlane, ControlPlaneOptions, Installation, Manager, ManagerOptions, Replicas,
    free_ports, until,
};
use anyhow::{Context, bail, ensure};
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Namespace as KubeNamespace, Secret, ServiceAccount},
};
use kube::{
    Api, Client, Error, Resource,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::{GroupVersionKind, NamespaceResourceScope, Status},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, sync::Mutex};

/// How long a condition may take to come true. A busy machine may need ten times the usual.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// How long an object may take to go. The garbage collector looks for new kinds only every 30 s,
/// and what it did not know before it tries again at a falling pace.
const GONE_LIMIT: Duration = Duration::from_secs(120);

/// Where the manager is installed.
pub(crate) const NAMESPACE: &str = "agentkube-system";
/// The name of both registrations.
pub(crate) const REGISTRATION: &str = "agentkube-manager";
/// The Secret with the certificate that the manager makes itself.
pub(crate) const SECRET: &str = "agentkube-webhook-tls";

/// The manager, as it was built for these tests.
const BINARY: &str = env!("CARGO_BIN_EXE_agentkube");

/// A control plane with agentkube installed.
pub(crate) struct Cluster {
    pub(crate) control_plane: ControlPlane,
    pub(crate) installation: Mutex<Installation>,
    /// Where the registrations point.
    webhook_port: u16,
    namespaces: AtomicUsize,
    manager: Mutex<Option<Manager>>,
    audit_log: AuditLog,
}

impl Cluster {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::start_with(Vec::new()).await
    }

    /// With more arguments for the API server.
    pub(crate) async fn start_with(arguments: Vec<String>) -> anyhow::Result<Self> {
        let binaries = Binaries::locate().await?;
        let audit_log = AuditLog::new()?;
        let options = ControlPlaneOptions {
            extra_apiserver_args: [audit_log.arguments(), arguments].concat(),
            ..ControlPlaneOptions::default()
        };
        let control_plane = ControlPlane::start(&binaries, options).await?;
        let [webhook_port] = free_ports()?;
        let installation = Installation::apply(&control_plane, webhook_port).await?;
        Ok(Self {
            control_plane,
            installation: Mutex::new(installation),
            webhook_port,
            namespaces: AtomicUsize::new(0),
            manager: Mutex::new(None),
            audit_log,
        })
    }

    /// What the API server's audit log holds, an event a line.
    pub(crate) fn audit_events(&self) -> anyhow::Result<Vec<Value>> {
        self.audit_log.events()
    }

    /// Starts a manager without settings, for all tests that share this control plane.
    pub(crate) async fn start_default_manager(&self) -> anyhow::Result<()> {
        *self.manager.lock().await = Some(self.start_manager(&[]).await?);
        Ok(())
    }

    /// What the manager that most tests share has logged.
    pub(crate) async fn manager_log(&self) -> String {
        let manager = self.manager.lock().await;
        manager
            .as_ref()
            .map_or_else(String::new, Manager::log)
    }

    /// Starts a manager with these settings, to which the registrations point, and waits until
    /// they answer. It leads at once.
    pub(crate) async fn start_manager(&self, settings: &[(&str, &str)]) -> anyhow::Result<Manager> {
        self.start_manager_with(self.manager_options(settings))
            .await
    }

    /// Starts a manager as [`Cluster::start_manager`] does, with more to choose.
    pub(crate) async fn start_manager_with(
        &self,
        options: ManagerOptions,
    ) -> anyhow::Result<Manager> {
        self.prepare().await?;
        let manager = Manager::start(&self.control_plane, options).await?;
        self.until_webhooks_answer().await?;
        Ok(manager)
    }

    /// Starts replicas behind a balancer, to which the registrations point, and waits until they answer.
    pub(crate) async fn start_replicas(
        &self,
        options: ManagerOptions,
        count: usize,
    ) -> anyhow::Result<Replicas> {
        self.prepare().await?;
        let replicas =
            Replicas::start(&self.control_plane, options, self.webhook_port, count).await?;
        self.until_webhooks_answer().await?;
        Ok(replicas)
    }

    /// Applies the shipped manifests again, over whatever is there.
    pub(crate) async fn apply_manifests(&self) -> anyhow::Result<()> {
        let installation = Installation::apply(&self.control_plane, self.webhook_port).await?;
        *self.installation.lock().await = installation;
        Ok(())
    }

    /// Has the API server call another manager, and waits until it does.
    pub(crate) async fn point_webhooks_at(&self, port: u16) -> anyhow::Result<()> {
        self.installation
            .lock()
            .await
            .point_webhooks_at(port)
            .await?;
        self.until_webhooks_answer().await
    }

    /// Undoes what a test before may have left.
    async fn prepare(&self) -> anyhow::Result<()> {
        // It may have pointed the registrations elsewhere, or deleted them.
        self.installation
            .lock()
            .await
            .point_webhooks_at(self.webhook_port)
            .await?;
        // A manager that was killed holds the Lease for a while.
        self.delete_lease().await
    }

    /// Deletes the Lease that the leader holds, if there is one.
    pub(crate) async fn delete_lease(&self) -> anyhow::Result<()> {
        self.delete_if_there::<Lease>(REGISTRATION)
            .await
    }

    /// Deletes the Secret with the manager's certificate, if there is one.
    pub(crate) async fn delete_secret(&self) -> anyhow::Result<()> {
        self.delete_if_there::<Secret>(SECRET)
            .await
    }

    async fn delete_if_there<K>(&self, name: &str) -> anyhow::Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let objects: Api<K> = Api::namespaced(self.client(), NAMESPACE);
        match objects
            .delete(name, &DeleteParams::default())
            .await
        {
            Ok(_) => Ok(()),
            Err(Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn until_webhooks_answer(&self) -> anyhow::Result<()> {
        self.installation
            .lock()
            .await
            .until_webhooks_answer()
            .await
    }

    /// How a manager with these settings is started, to which the registrations point.
    pub(crate) fn manager_options(&self, settings: &[(&str, &str)]) -> ManagerOptions {
        let env = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        ManagerOptions {
            env,
            webhook_port: Some(self.webhook_port),
            ..ManagerOptions::new(BINARY)
        }
    }

    /// Where the registrations point.
    pub(crate) fn webhook_port(&self) -> u16 {
        self.webhook_port
    }

    /// A client that may do everything.
    pub(crate) fn client(&self) -> Client {
        self.control_plane.client()
    }

    /// The minor version of Kubernetes that runs, such as 33.
    pub(crate) async fn minor(&self) -> anyhow::Result<u32> {
        let version = self
            .client()
            .apiserver_version()
            .await?;
        let digits = version.minor.trim_end_matches('+');
        Ok(digits.parse()?)
    }

    /// A new namespace in which pods can be created.
    pub(crate) async fn namespace(&self, word: &str) -> anyhow::Result<Namespace> {
        let number = self
            .namespaces
            .fetch_add(1, Ordering::Relaxed);
        let name = format!("{word}-{number}");
        let namespaces: Api<KubeNamespace> = Api::all(self.client());
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        namespaces
            .create(&PostParams::default(), &namespace)
            .await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), &name);
        until("the default ServiceAccount", LIMIT, async || {
            Ok(accounts.get_opt("default").await?)
        })
        .await?;
        Ok(Namespace {
            client: self.client(),
            name,
        })
    }

    /// Changes a namespace by a merge patch.
    pub(crate) async fn label_namespace(
        &self,
        namespace: &Namespace,
        patch: &Value,
    ) -> anyhow::Result<()> {
        let namespaces: Api<KubeNamespace> = Api::all(self.client());
        namespaces
            .patch(
                &namespace.name,
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await?;
        Ok(())
    }

    /// Runs kubectl, with `input` on its stdin.
    pub(crate) async fn kubectl(&self, arguments: &[&str], input: &str) -> anyhow::Result<Said> {
        let mut child = self
            .control_plane
            .kubectl(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdin = child
            .stdin
            .take()
            .context("stdin is piped")?;
        stdin
            .write_all(input.as_bytes())
            .await?;
        drop(stdin);
        let output = child.wait_with_output().await?;
        Ok(Said {
            success: output.status.success(),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }
}

/// The API server's own audit log, of what concerns admission here.
struct AuditLog(TempDir);

impl AuditLog {
    fn new() -> anyhow::Result<Self> {
        let log = Self(tempfile::tempdir()?);
        let policy = json!({
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [
                {"level": "Metadata", "verbs": ["create", "update", "patch"], "resources": [
                    {"group": "agentkube.io", "resources": ["agents", "tools"]},
                    {"group": "", "resources": ["pods"]},
                ]},
                {"level": "None"},
            ],
        });
        std::fs::write(log.path("policy.json"), policy.to_string())?;
        Ok(log)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn arguments(&self) -> Vec<String> {
        vec![
            format!("--audit-policy-file={}", self.path("policy.json").display()),
            format!("--audit-log-path={}", self.path("audit.log").display()),
            // Written before the answer is sent, so that a test need not wait.
            "--audit-log-mode=blocking".to_owned(),
        ]
    }

    fn events(&self) -> anyhow::Result<Vec<Value>> {
        let log = std::fs::read_to_string(self.path("audit.log"))?;
        log.lines()
            .map(|line| Ok(serde_json::from_str(line)?))
            .collect()
    }
}

/// What kubectl said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A namespace that one test has for itself.
#[derive(Clone)]
pub(crate) struct Namespace {
    pub(crate) client: Client,
    pub(crate) name: String,
}

impl Namespace {
    /// Objects of a kind, here.
    pub(crate) fn api(&self, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.name, &resource(kind))
    }

    /// Creates an object that the API server accepts.
    pub(crate) async fn create(&self, object: &Value) -> anyhow::Result<Value> {
        match self.try_create(object).await? {
            Ok(created) => Ok(created),
            Err(status) => bail!("refused: {}", status.message),
        }
    }

    /// Creates an object that the API server refuses.
    pub(crate) async fn refused(&self, object: &Value) -> anyhow::Result<Status> {
        match self.try_create(object).await? {
            Ok(created) => bail!("accepted: {created}"),
            Err(status) => Ok(status),
        }
    }

    pub(crate) async fn try_create(&self, object: &Value) -> anyhow::Result<Result<Value, Status>> {
        let kind = object["kind"]
            .as_str()
            .context("the object has a kind")?;
        let mut object = object.clone();
        object["metadata"]["namespace"] = json!(self.name);
        let object: DynamicObject = serde_json::from_value(object)?;
        match self
            .api(kind)
            .create(&PostParams::default(), &object)
            .await
        {
            Ok(created) => Ok(Ok(serde_json::to_value(created)?)),
            Err(Error::Api(status)) => Ok(Err(*status)),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn get(&self, kind: &str, name: &str) -> anyhow::Result<Option<Value>> {
        let object = self.api(kind).get_opt(name).await?;
        Ok(object
            .map(serde_json::to_value)
            .transpose()?)
    }

    /// Changes an object by a merge patch.
    pub(crate) async fn patch(
        &self,
        kind: &str,
        name: &str,
        patch: &Value,
    ) -> kube::Result<DynamicObject> {
        self.api(kind)
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
    }

    pub(crate) async fn delete(&self, kind: &str, name: &str) -> anyhow::Result<()> {
        let now = DeleteParams {
            grace_period_seconds: Some(0),
            ..DeleteParams::default()
        };
        self.api(kind)
            .delete(name, &now)
            .await?;
        Ok(())
    }

    /// Waits until an object is as `wanted` says, and returns it. The error shows how it was last.
    pub(crate) async fn wait(
        &self,
        kind: &str,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let mut last = None;
        let found = until(&format!("{kind} {name} {what}"), LIMIT, async || {
            last = self.get(kind, name).await?;
            Ok(last.clone().filter(&wanted))
        })
        .await;
        found.with_context(|| match &mut last {
            None => "it does not exist".to_owned(),
            Some(last) => {
                last["metadata"]["managedFields"] = Value::Null;
                format!("last seen: {last}")
            }
        })
    }

    /// Waits until an Agent runs.
    pub(crate) async fn wait_running(&self, agent: &str) -> anyhow::Result<Value> {
        self.wait("Agent", agent, "to run", |agent| {
            agent["status"]["phase"] == "Running"
                && agent["status"]["ready"] == "1/1"
                && agent["status"]["observedGeneration"] == agent["metadata"]["generation"]
        })
        .await
    }

    /// Waits until an Agent or a Tool is or is not ready for this reason, and returns it.
    pub(crate) async fn wait_ready(
        &self,
        kind: &str,
        name: &str,
        reason: &str,
    ) -> anyhow::Result<Value> {
        let what = format!("to say {reason}");
        self.wait(kind, name, &what, |object| {
            condition(object, "Ready")["reason"] == reason
                && condition(object, "Ready")["observedGeneration"]
                    == object["metadata"]["generation"]
        })
        .await
    }

    /// Waits for an Event about an object here, and returns it. The error shows the others.
    pub(crate) async fn wait_event(&self, name: &str, reason: &str) -> anyhow::Result<Value> {
        let mut last = Vec::new();
        let found = until(
            &format!("an Event {reason} about {name}"),
            LIMIT,
            async || {
                last = self.list("Event", "").await?;
                let event = last
                    .iter()
                    .find(|event| event["regarding"]["name"] == name && event["reason"] == reason);
                Ok(event.cloned())
            },
        )
        .await;
        found.with_context(|| format!("last seen: {last:?}"))
    }

    /// The objects of a kind, here, that a label selector selects.
    pub(crate) async fn list(&self, kind: &str, labels: &str) -> anyhow::Result<Vec<Value>> {
        let objects = self
            .api(kind)
            .list(&ListParams::default().labels(labels))
            .await?;
        objects
            .items
            .into_iter()
            .map(|object| Ok(serde_json::to_value(object)?))
            .collect()
    }

    /// Deletes the namespace, and waits until it is gone.
    pub(crate) async fn delete_all(&self) -> anyhow::Result<()> {
        self.delete_all_within(GONE_LIMIT).await
    }

    /// Deletes the namespace with a crowd in it, and waits until it is gone.
    pub(crate) async fn delete_all_within(&self, limit: Duration) -> anyhow::Result<()> {
        let namespaces: Api<KubeNamespace> = Api::all(self.client.clone());
        namespaces
            .delete(&self.name, &DeleteParams::default())
            .await?;
        let mut last = None;
        let gone = until(&format!("{} to go", self.name), limit, async || {
            last = namespaces.get_opt(&self.name).await?;
            Ok(last.is_none().then_some(()))
        })
        .await;
        gone.with_context(|| format!("last seen: {last:?}"))
    }

    /// Waits until an object is gone.
    pub(crate) async fn wait_gone(&self, kind: &str, name: &str) -> anyhow::Result<()> {
        until(&format!("{kind} {name} to go"), GONE_LIMIT, async || {
            Ok(self
                .get(kind, name)
                .await?
                .is_none()
                .then_some(()))
        })
        .await
    }
}

/// The kinds that tests speak of.
fn resource(kind: &str) -> ApiResource {
    let (group, version, plural) = match kind {
        "Agent" => ("agentkube.io", "v1alpha1", "agents"),
        "ConfigMap" => ("", "v1", "configmaps"),
        "Event" => ("events.k8s.io", "v1", "events"),
        "Pod" => ("", "v1", "pods"),
        "Rejection" => ("agentkube.io", "v1alpha1", "rejections"),
        "ResourceQuota" => ("", "v1", "resourcequotas"),
        "Role" => ("rbac.authorization.k8s.io", "v1", "roles"),
        "RoleBinding" => ("rbac.authorization.k8s.io", "v1", "rolebindings"),
        "Secret" => ("", "v1", "secrets"),
        "ServiceAccount" => ("", "v1", "serviceaccounts"),
        "Tool" => ("agentkube.io", "v1alpha1", "tools"),
        kind => unreachable!("a test speaks of {kind}"),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// An Agent.
pub(crate) fn agent(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "agentkube.io/v1alpha1", "kind": "Agent", "metadata": {"name": name}, "spec": spec})
}

/// A Tool.
pub(crate) fn tool(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "agentkube.io/v1alpha1", "kind": "Tool", "metadata": {"name": name}, "spec": spec})
}

/// A pod.
pub(crate) fn pod(name: &str, labels: &Value, spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec})
}

/// A condition of an Agent or a Tool; null if it has none of that type.
pub(crate) fn condition<'a>(object: &'a Value, type_: &str) -> &'a Value {
    object["status"]["conditions"]
        .as_array()
        .and_then(|conditions| {
            conditions
                .iter()
                .find(|condition| condition["type"] == type_)
        })
        .unwrap_or(&Value::Null)
}

/// The containers of every list of a pod, and its image volumes, as `(name, image, pull policy)`.
pub(crate) fn images(pod: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| {
        value
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let list = |name: &str| {
        pod["spec"][name]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    let containers = ["containers", "initContainers", "ephemeralContainers"]
        .into_iter()
        .flat_map(list)
        .map(|c| {
            (
                text(&c["name"]),
                text(&c["image"]),
                text(&c["imagePullPolicy"]),
            )
        });
    let volumes = list("volumes")
        .into_iter()
        .filter(|volume| volume["image"].is_object())
        .map(|v| {
            (
                text(&v["name"]),
                text(&v["image"]["reference"]),
                text(&v["image"]["pullPolicy"]),
            )
        });
    containers.chain(volumes).collect()
}

/// Demands that a refusal is the one that is expected, in all that a client can see of it.
pub(crate) fn expect_refusal(status: &Status, reason: &str, field: &str) -> anyhow::Result<()> {
    expect(status, (422, "Invalid"), reason, field)
}

/// Demands the same of a refusal of what is not allowed here.
pub(crate) fn expect_forbidden(status: &Status, reason: &str, field: &str) -> anyhow::Result<()> {
    expect(status, (403, "Forbidden"), reason, field)
}

fn expect(
    status: &Status,
    (code, word): (u16, &str),
    reason: &str,
    field: &str,
) -> anyhow::Result<()> {
    ensure!(
        status.code == code,
        "code {}: {}",
        status.code,
        status.message
    );
    ensure!(
        status.reason == word,
        "reason {}: {}",
        status.reason,
        status.message
    );
    let details = status
        .details
        .as_ref()
        .context("a refusal has details")?;
    let cause = details
        .causes
        .first()
        .with_context(|| format!("no cause: {}", status.message))?;
    ensure!(
        cause.reason == reason,
        "cause {} and not {reason}: {}",
        cause.reason,
        status.message
    );
    ensure!(
        cause.field == field,
        "field {} and not {field}: {}",
        cause.field,
        status.message
    );
    ensure!(
        status.message.contains(&cause.message),
        "the message lacks the cause: {}",
        status.message
    );
    Ok(())
}
