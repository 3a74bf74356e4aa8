//! The real manager, as a process beside the control plane.

use std::{
    path::PathBuf,
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, api::PostParams};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::{
    controlplane::ControlPlane,
    loopback::{free_ports, http_get},
    process::Process,
    wait::until,
};

/// The namespace and the ServiceAccount of the shipped manifests.
const NAMESPACE: &str = "agentkube-system";
const ACCOUNT: &str = "agentkube-manager";

/// How long a manager may take to be ready.
const LIMIT: Duration = Duration::from_secs(30);

/// How long it may take to end in order.
const GRACE: Duration = Duration::from_secs(10);

/// A playground may stay for long. In a pod the kubelet would renew the token.
const TOKEN_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// What can be chosen about a manager.
#[derive(Clone, Debug)]
pub struct ManagerOptions {
    /// The program.
    pub binary: PathBuf,
    /// The name of its pod, and of its log. Several at once need several.
    pub name: String,
    /// The port that its webhooks are served at; a free one if it is `None`.
    pub webhook_port: Option<u16>,
    /// Its settings: variables of its environment, which is empty but for what it needs to run.
    pub env: Vec<(String, String)>,
    /// For how long it serves on after it was asked to end. Nobody who still has its address has to be waited for, so it
    /// is zero where no balancer is.
    pub drain_delay: Duration,
    /// Put behind its own arguments.
    pub args: Vec<String>,
}

impl ManagerOptions {
    /// The manager as it is shipped, at a free port.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            name: ACCOUNT.to_owned(),
            webhook_port: None,
            env: Vec::new(),
            drain_delay: Duration::ZERO,
            args: Vec::new(),
        }
    }
}

/// A running manager. Dropping it kills it.
#[derive(Debug)]
pub struct Manager {
    process: Process,
    /// How long the log was before: a manager of the same name may have run already.
    log_start: usize,
    ports: Ports,
    started: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    webhook: u16,
    metrics: u16,
    probes: u16,
}

impl Manager {
    /// Starts a manager with the rights of its own ServiceAccount, and waits until it says that it is ready. agentkube
    /// has to be installed.
    ///
    /// # Errors
    ///
    /// It refuses to start (the error carries what it said, word for word), or is not ready in time.
    pub async fn start(
        control_plane: &ControlPlane,
        options: ManagerOptions,
    ) -> anyhow::Result<Self> {
        let mut manager = Self::spawn(control_plane, options).await?;
        let what = format!("`{}` to be ready", manager.process.name());
        let mut last = String::new();
        let ready = until(&what, LIMIT, async || {
            manager.expect_running()?;
            let answer = match http_get(manager.ports.probes, "/readyz").await {
                Ok((200, _)) => return Ok(Some(())),
                Ok((_, body)) => body,
                Err(error) => format!("{error:#}"),
            };
            answer.trim().clone_into(&mut last);
            Ok(None)
        })
        .await;
        match ready {
            Ok(()) => Ok(manager),
            // It has ended, and its words are to be read without ours.
            Err(error) if !manager.is_running() => Err(error),
            Err(error) => {
                let log = manager.process.log_tail(15);
                bail!("{error:#}\n\n`/readyz` says:\n{last}\n\nits log ends with:\n{log}")
            }
        }
    }

    /// Starts a manager and waits for nothing.
    ///
    /// # Errors
    ///
    /// Its ServiceAccount is not there, or it cannot be started.
    pub async fn spawn(
        control_plane: &ControlPlane,
        options: ManagerOptions,
    ) -> anyhow::Result<Self> {
        let ManagerOptions {
            binary,
            name,
            webhook_port,
            env,
            drain_delay,
            args,
        } = options;
        let [webhook, metrics, probes] = free_ports()?;
        let ports = Ports {
            webhook: webhook_port.unwrap_or(webhook),
            metrics,
            probes,
        };
        let token = token(control_plane).await?;
        let kubeconfig = control_plane.kubeconfig_for(&name, &token)?;
        let mut command = Command::new(binary);
        command
            .arg("manager")
            .args(ports.arguments())
            .arg("--serving-name=127.0.0.1")
            .arg(format!("--drain-delay={}", drain_delay.as_secs()))
            .args(args)
            .env_clear()
            .envs(
                ["PATH", "RUST_LOG"]
                    .into_iter()
                    .filter_map(|name| {
                        let value = std::env::var_os(name)?;
                        Some((name, value))
                    }),
            )
            .env("KUBECONFIG", kubeconfig)
            .env("POD_NAME", &name)
            .env("POD_NAMESPACE", NAMESPACE)
            .envs(env)
            .current_dir(control_plane.directory());
        let log = control_plane
            .directory()
            .join(format!("{name}.log"));
        let log_start = std::fs::read(log).map_or(0, |log| log.len());
        let started = Instant::now();
        Ok(Self {
            process: Process::start(&name, command, control_plane.directory())?,
            log_start,
            ports,
            started,
        })
    }

    /// The port of its webhooks, on 127.0.0.1.
    #[must_use]
    pub fn webhook_port(&self) -> u16 {
        self.ports.webhook
    }

    /// The port of its metrics.
    #[must_use]
    pub fn metrics_port(&self) -> u16 {
        self.ports.metrics
    }

    /// The port of its probes.
    #[must_use]
    pub fn probe_port(&self) -> u16 {
        self.ports.probes
    }

    /// Right before it was started.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether it says that it is ready.
    pub async fn is_ready(&self) -> bool {
        matches!(http_get(self.ports.probes, "/readyz").await, Ok((200, _)))
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Makes an end that nobody asked for an error with what it said last.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn expect_running(&mut self) -> anyhow::Result<()> {
        let Some(status) = self.process.exit_status() else {
            return Ok(());
        };
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        // From its own `error: …` on, however long that is.
        let from = lines
            .iter()
            .position(|line| line.starts_with("error: "))
            .unwrap_or(lines.len().saturating_sub(15));
        let said = lines.get(from..).unwrap_or_default();
        let name = self.process.name();
        bail!("`{name}` ended ({status}) and said:\n{}", said.join("\n"))
    }

    /// Everything that it wrote to stdout and stderr.
    #[must_use]
    pub fn log(&self) -> String {
        let log = std::fs::read(self.process.log_path()).unwrap_or_default();
        String::from_utf8_lossy(
            log.get(self.log_start..)
                .unwrap_or_default(),
        )
        .into_owned()
    }

    /// The file that it writes its log to.
    #[must_use]
    pub fn log_path(&self) -> &std::path::Path {
        self.process.log_path()
    }

    /// What it tells Prometheus.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        let (code, body) = http_get(self.ports.metrics, "/metrics").await?;
        if code != 200 {
            bail!("`/metrics` was answered with {code}");
        }
        Ok(body)
    }

    /// Asks it to end, as the kubelet would, and kills it if it does not. Says how it ended.
    pub async fn stop(&mut self) -> Option<ExitStatus> {
        // One that is stopped could not listen.
        self.resume();
        self.process.stop(GRACE).await;
        self.process.exit_status()
    }

    /// Kills it, as a node that fails would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Freezes it: its ports stay open, and nobody answers.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Ends [`Manager::pause`].
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    fn signal(&mut self, signal: Signal) {
        let group = i32::try_from(self.id())
            .ok()
            .and_then(Pid::from_raw);
        if self.is_running()
            && let Some(group) = group
        {
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Ports {
    fn arguments(self) -> [String; 3] {
        let Self {
            webhook,
            metrics,
            probes,
        } = self;
        [
            format!("--webhook-address=127.0.0.1:{webhook}"),
            format!("--metrics-address=127.0.0.1:{metrics}"),
            format!("--probe-address=127.0.0.1:{probes}"),
        ]
    }
}

/// A token of the manager's ServiceAccount, so that a right that the shipped manifests don't give is missing here, too.
pub(crate) async fn token(control_plane: &ControlPlane) -> anyhow::Result<String> {
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: i64::try_from(TOKEN_LIFETIME.as_secs()).ok(),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let accounts = Api::<ServiceAccount>::namespaced(control_plane.client(), NAMESPACE);
    let answer = accounts
        .create_token_request(ACCOUNT, &PostParams::default(), &request)
        .await
        .with_context(|| format!("no token for the ServiceAccount `{ACCOUNT}`"))?;
    Ok(answer
        .status
        .context("a request for a token was answered without one")?
        .token)
}
