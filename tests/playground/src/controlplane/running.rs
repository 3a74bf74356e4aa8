//! A Kubernetes control plane on the loopback interface.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{
    controlplane::{
        binaries::Binaries,
        commands,
        credentials::{self, Credentials},
        nodes,
        options::ControlPlaneOptions,
        restartable::Restartable,
    },
    loopback::{free_ports, http_post},
    process::{
        Process,
        state::{self, StateDirectory},
    },
    wait::until,
};

/// How long each step of a start may take. A busy machine may need ten times the usual.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a program may take to end. The API server sometimes waits 5 s for a connection that never carried a
/// request; nothing is lost by not doing so.
const GRACE: Duration = Duration::from_secs(2);

/// How long one look whether the API server is ready may take.
const LOOK: Duration = Duration::from_secs(5);

/// How often a start is tried when somebody takes a port that was free a moment ago.
const ATTEMPTS: usize = 3;

/// A running control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, and KWOK for the nodes.
///
/// [`ControlPlane::stop`] ends it in order. Dropping it kills what runs. Either way its directory goes.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped in this order: who calls goes before who is called, and the directory goes last.
    kwok: Process,
    scheduler: Process,
    controller_manager: Process,
    apiserver: Restartable,
    etcd: Restartable,
    access: Access,
    /// Where etcd is asked, and asked to forget.
    etcd_port: u16,
    state: StateDirectory,
}

/// How to reach the API server.
struct Access {
    server: String,
    credentials: Credentials,
    kubectl: PathBuf,
    config: Config,
    client: Client,
}

impl ControlPlane {
    /// Brings a control plane up and waits until pods can be created and are scheduled: the API server and
    /// the nodes are ready, and the namespace `default` has its account. Takes about 5 s on 2 cores.
    ///
    /// Sweeps up first after runs that were killed.
    ///
    /// # Errors
    ///
    /// A program cannot be started or ends early (the error shows the last lines of its log), or is not ready in time.
    pub async fn start(binaries: &Binaries, options: ControlPlaneOptions) -> anyhow::Result<Self> {
        state::sweep();
        let mut attempt = 1;
        loop {
            match Self::attempt(binaries, &options).await {
                Err(error) if attempt < ATTEMPTS && is_port_clash(&error) => attempt += 1,
                result => return result.context("cannot bring up a control plane"),
            }
        }
    }

    /// The kubeconfig of the user `admin`, who may do everything.
    #[must_use]
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.access.credentials.admin
    }

    /// The URL of the API server.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.access.server
    }

    /// The certificate authority of the API server, in PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.access.credentials.ca_pem
    }

    /// A client with the rights of `admin`. All clones share one connection pool, which lives on the runtime that started
    /// the control plane; for another runtime make a client from [`ControlPlane::config`].
    #[must_use]
    pub fn client(&self) -> Client {
        self.access.client.clone()
    }

    /// What a client with the rights of `admin` is made from.
    #[must_use]
    pub fn config(&self) -> Config {
        self.access.config.clone()
    }

    /// Writes the kubeconfig `NAME.kubeconfig` for the bearer of `token`, into the state directory.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn kubeconfig_for(&self, name: &str, token: &str) -> anyhow::Result<PathBuf> {
        let ca = &self.access.credentials.ca;
        credentials::kubeconfig(self.directory(), name, self.server(), ca, token)
    }

    /// The directory with all state and logs. It goes with the control plane.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.state.path()
    }

    /// `kubectl` as the user `admin`, untouched by the configuration and the caches of the person who runs this.
    pub fn kubectl<I>(&self, arguments: I) -> tokio::process::Command
    where
        I: IntoIterator,
        I::Item: AsRef<std::ffi::OsStr>,
    {
        let mut command = tokio::process::Command::new(&self.access.kubectl);
        command
            .args(arguments)
            .env("HOME", self.directory())
            .env("KUBECONFIG", self.admin_kubeconfig())
            .kill_on_drop(true);
        command
    }

    /// The program `kubectl`.
    pub(crate) fn kubectl_program(&self) -> &Path {
        &self.access.kubectl
    }

    /// Ends everything in order and deletes the directory.
    pub async fn stop(mut self) {
        let grace = GRACE;
        tokio::join!(
            self.kwok.stop(grace),
            self.scheduler.stop(grace),
            self.controller_manager.stop(grace),
        );
        self.apiserver.stop(grace).await;
        self.etcd.stop(grace).await;
    }

    /// Ends the API server and starts it again, with nothing remembered of what it told its watchers. Returns once
    /// it is ready.
    ///
    /// # Errors
    ///
    /// It does not come back in time.
    pub async fn restart_apiserver(&self) -> anyhow::Result<()> {
        self.apiserver.stop(GRACE).await;
        self.apiserver.start_again().await?;
        self.until_ready().await
    }

    /// Ends etcd: nothing is read or written until [`ControlPlane::start_etcd`].
    pub async fn stop_etcd(&self) {
        self.etcd.stop(GRACE).await;
    }

    /// Starts etcd again, with its data, and waits until the API server is ready.
    ///
    /// # Errors
    ///
    /// They are not in time.
    pub async fn start_etcd(&self) -> anyhow::Result<()> {
        self.etcd.start_again().await?;
        self.until_ready().await
    }

    /// Has etcd forget everything but how things stand now. Who was told of a revision before, and watches on from
    /// there after [`ControlPlane::restart_apiserver`], is answered with 410.
    ///
    /// # Errors
    ///
    /// etcd does not answer, or not as expected.
    pub async fn compact(&self) -> anyhow::Result<()> {
        let answer = http_post(self.etcd_port, "/v3/kv/range", r#"{"key":"AA=="}"#).await?;
        let answer: serde_json::Value = serde_json::from_str(&answer)?;
        let revision = answer
            .pointer("/header/revision")
            .and_then(serde_json::Value::as_str)
            .context("etcd tells no revision")?;
        let compaction = format!(r#"{{"revision":"{revision}","physical":true}}"#);
        http_post(self.etcd_port, "/v3/kv/compaction", &compaction).await?;
        Ok(())
    }

    async fn until_ready(&self) -> anyhow::Result<()> {
        until("the API server to be ready again", LIMIT, async || {
            self.etcd.expect_running().await?;
            self.apiserver.expect_running().await?;
            Ok(self
                .access
                .is_ready()
                .await?
                .then_some(()))
        })
        .await
    }

    async fn attempt(binaries: &Binaries, options: &ControlPlaneOptions) -> anyhow::Result<Self> {
        let state = StateDirectory::create()?;
        let directory = state.path();
        let [client_port, peer_port, port] = free_ports()?;
        let server = format!("https://127.0.0.1:{port}");
        let credentials = Credentials::create(directory, &server)?;
        let etcd_url = format!("http://127.0.0.1:{client_port}");

        let start = |name, command| Process::start(name, command, directory);
        let etcd = {
            let (program, directory, url) = (
                binaries.etcd.clone(),
                directory.to_owned(),
                etcd_url.clone(),
            );
            Restartable::start("etcd", state.path(), move || {
                commands::etcd(&program, &directory, &url, peer_port)
            })?
        };
        let apiserver = {
            let (binaries, directory, credentials, options) = (
                binaries.clone(),
                directory.to_owned(),
                credentials.clone(),
                options.clone(),
            );
            Restartable::start("kube-apiserver", state.path(), move || {
                commands::apiserver(
                    &binaries,
                    &directory,
                    &credentials,
                    &etcd_url,
                    port,
                    &options,
                )
            })?
        };
        let access = Access::new(server, credentials, &binaries.kubectl).await?;
        let client = &access.client;
        until("the API server to be ready", LIMIT, async || {
            etcd.expect_running().await?;
            apiserver.expect_running().await?;
            Ok(access.is_ready().await?.then_some(()))
        })
        .await?;

        let credentials = &access.credentials;
        let mut controller_manager = start(
            "kube-controller-manager",
            commands::controller_manager(binaries, directory, credentials),
        )?;
        let mut kwok = start("kwok", commands::kwok(binaries, directory, credentials))?;
        let mut scheduler = start(
            "kube-scheduler",
            commands::scheduler(binaries, directory, credentials),
        )?;
        nodes::create(client, options.nodes).await?;
        let accounts = Api::<ServiceAccount>::default_namespaced(client.clone());
        until(
            "the nodes and the ServiceAccount `default`",
            LIMIT,
            async || {
                etcd.expect_running().await?;
                apiserver.expect_running().await?;
                for process in [&mut controller_manager, &mut scheduler, &mut kwok] {
                    process.expect_running()?;
                }
                let ready = nodes::are_ready(client, options.nodes).await?
                    && accounts
                        .get_opt("default")
                        .await?
                        .is_some();
                Ok(ready.then_some(()))
            },
        )
        .await?;
        Ok(Self {
            kwok,
            scheduler,
            controller_manager,
            apiserver,
            etcd,
            access,
            etcd_port: client_port,
            state,
        })
    }
}

impl Access {
    async fn new(server: String, credentials: Credentials, kubectl: &Path) -> anyhow::Result<Self> {
        let kubeconfig = Kubeconfig::read_from(&credentials.admin)?;
        let mut config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        // Whatever proxy the environment names: nothing here leaves the machine.
        config.proxy_url = None;
        Ok(Self {
            client: Client::try_from(config.clone())?,
            config,
            kubectl: kubectl.to_owned(),
            server,
            credentials,
        })
    }

    async fn is_ready(&self) -> anyhow::Result<bool> {
        let request = http::Request::get("/readyz").body(Vec::new())?;
        let answer = tokio::time::timeout(LOOK, self.client.request_text(request)).await;
        Ok(matches!(answer, Ok(Ok(_))))
    }
}

/// Neither the client nor its configuration has anything to show, and the latter holds a token.
impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

fn is_port_clash(error: &anyhow::Error) -> bool {
    format!("{error:#}").contains("address already in use")
}
