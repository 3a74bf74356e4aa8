//! A vocabulary for tests on a real API server.

mod audit_log;
mod namespace;
mod objects;

pub(crate) use self::{
    namespace::Namespace,
    objects::{agent, condition, expect_forbidden, expect_refusal, images, pod, pod_of, tool},
};

use std::{
    fmt::Debug,
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use agentkube_playground::{
    Binaries, ControlPlane, ControlPlaneOptions, Installation, Manager, ManagerOptions, Replicas,
    free_ports, until,
};
use anyhow::Context;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Namespace as KubeNamespace, Secret, ServiceAccount},
};
use kube::{
    Api, Client, Error, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, sync::Mutex};

use self::audit_log::AuditLog;

/// How long a condition may take to come true. A busy machine may need ten times the usual.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

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

/// What kubectl said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}
