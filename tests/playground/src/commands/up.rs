//! Bringing everything up, applying manifests, and telling what came of it.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use agentkube_playground::{
    AgentReport, Binaries, ControlPlane, ControlPlaneOptions, Installation, Manager,
    ManagerOptions, Manifest, Report, Seconds, Shutdown, apply, build_manager, free_ports,
    read_manifests, rejections, settle, talk,
};
use anyhow::{Context, bail};

use crate::commands::{interrupt::until_interrupted, output};

/// What is applied if nothing else is asked for, relative to the repository.
const SAMPLES: &str = "manifests/samples";

/// What can be tried with them.
const SUGGESTIONS: [&str; 5] = [
    "  kubectl get pod triage-bot -n adaptive -o yaml",
    "  kubectl patch agent night-watch -n adaptive --type merge -p '{\"spec\":{\"paused\":false}}'",
    "  kubectl apply -f manifests/samples/rejected/custom-without-image.yaml",
    "  kubectl get rejections -A -o wide",
    "  kubectl delete pod triage-bot -n adaptive; kubectl get pods -n adaptive --watch",
];

/// How long Agents may take to settle.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);

/// How often it is looked whether everything is still well.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Exit when every Agent has settled instead of waiting for Ctrl-C
    #[arg(long)]
    once: bool,
    /// Print one JSON document on stdout instead of text
    #[arg(long)]
    json: bool,
    /// Set an environment variable of the manager (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    env: Vec<(String, String)>,
    /// Apply these manifests instead of the samples (repeatable)
    #[arg(long, value_name = "FILE|DIR")]
    apply: Vec<PathBuf>,
}

/// Runs until Ctrl-C, or once.
///
/// # Errors
///
/// Something does not come up, ends while it should run, or does not settle.
pub(crate) async fn run(args: Args, shutdown: &Shutdown) -> anyhow::Result<ExitCode> {
    let Args {
        once,
        json,
        env,
        apply: paths,
    } = args;
    // First of all, so that a typing error does not have to wait for a control plane.
    let manifests = manifests(&paths)?;
    let work = Box::pin(bring_up(env, manifests, json));
    let mut playground = match until_interrupted(shutdown, work).await? {
        Ok(playground) => playground,
        Err(status) => return Ok(status),
    };
    if !once {
        talk::say(playground.invitation(paths.is_empty()));
        playground.stay(shutdown).await?;
    }
    playground.end().await
}

/// What runs, once everything has settled.
struct Playground {
    manager: Manager,
    control_plane: ControlPlane,
    kubectl: PathBuf,
    settled: bool,
}

/// Brings everything up, applies the manifests, and tells what came of it.
async fn bring_up(
    env: Vec<(String, String)>,
    manifests: Vec<Manifest>,
    json: bool,
) -> anyhow::Result<Playground> {
    let binary = build_manager().await?;
    let binaries = Binaries::locate().await?;
    let clock = Clock::start();
    clock.say("starting a control plane");
    let control_plane = ControlPlane::start(&binaries, ControlPlaneOptions::default()).await?;
    let up = clock.say("the control plane is up");

    let [webhook_port] = free_ports()?;
    let installation = Installation::apply(&control_plane, webhook_port).await?;
    clock.say("agentkube is installed");
    let options = ManagerOptions {
        webhook_port: Some(webhook_port),
        env,
        ..ManagerOptions::new(binary)
    };
    let mut manager = Manager::start(&control_plane, options).await?;
    installation
        .until_webhooks_answer()
        .await?;
    let ready = clock.say("the manager is ready and its webhooks answer");

    let client = control_plane.client();
    let applied = apply(&client, manifests).await?;
    clock.say("the manifests are applied");
    let agents = settle(&client, SETTLE_LIMIT, || manager.expect_running()).await?;
    let rejections = rejections(&client, &applied.rejected).await?;
    let waiting = unsettled(&agents);
    let total = clock.say(
        waiting
            .as_deref()
            .unwrap_or("every Agent has settled"),
    );
    let seconds = Seconds {
        control_plane: up,
        manager: ready.saturating_sub(up),
        total,
    };
    let report = Report::new(agents, applied, rejections, seconds);
    output::print(&if json {
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        format!("\n{report}")
    })?;
    Ok(Playground {
        manager,
        control_plane,
        kubectl: binaries.kubectl,
        settled: waiting.is_none(),
    })
}

impl Playground {
    /// What a person can do now.
    fn invitation(&self, samples: bool) -> String {
        let kubeconfig = self.control_plane.admin_kubeconfig();
        let mut lines = vec![
            "\nHave a look from another terminal:\n".to_owned(),
            format!("  export KUBECONFIG={}", kubeconfig.display()),
        ];
        if !is_on_path("kubectl") {
            lines.push(format!("  alias kubectl={}", self.kubectl.display()));
        }
        lines.push("  kubectl get agents -A -o wide".to_owned());
        if samples {
            lines.extend(SUGGESTIONS.map(str::to_owned));
        }
        let (log, port) = (self.manager.log_path(), self.manager.metrics_port());
        lines.extend([
            format!("  tail -f {}", log.display()),
            format!("  curl http://127.0.0.1:{port}/metrics"),
            "\nPress Ctrl-C to stop".to_owned(),
        ]);
        lines.join("\n")
    }

    /// Waits for Ctrl-C, and notices if the manager ends by itself.
    async fn stay(&mut self, shutdown: &Shutdown) -> anyhow::Result<()> {
        while !shutdown.is_asked() {
            self.manager.expect_running()?;
            let _ = tokio::time::timeout(LOOK, shutdown.asked()).await;
        }
        Ok(())
    }

    async fn end(mut self) -> anyhow::Result<ExitCode> {
        let status = self.manager.stop().await;
        // Nobody will read what it holds, so nothing there has to end in order.
        drop(self.control_plane);
        talk::say("stopped; nothing is left running");
        if !self.settled {
            bail!("not every Agent has settled");
        }
        match status {
            Some(status) if status.success() => Ok(ExitCode::SUCCESS),
            Some(status) => bail!("the manager exited with an error ({status})"),
            None => bail!("the manager did not exit in time"),
        }
    }
}

/// Reads what to apply. Files of the samples are called as they are called in the repository.
fn manifests(paths: &[PathBuf]) -> anyhow::Result<Vec<Manifest>> {
    if !paths.is_empty() {
        return read_manifests(paths);
    }
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .context("the repository has moved since this program was built")?;
    let mut manifests = read_manifests(&[repository.join(SAMPLES)])?;
    for manifest in &mut manifests {
        if let Ok(relative) = manifest.file.strip_prefix(&repository) {
            manifest.file = relative.to_owned();
        }
    }
    Ok(manifests)
}

fn setting(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE"),
    }
}

/// Who did not settle, and why.
fn unsettled(agents: &[AgentReport]) -> Option<String> {
    let waiting: Vec<_> = agents
        .iter()
        .filter(|agent| !agent.is_settled())
        .map(|agent| {
            let (namespace, name) = (&agent.namespace, &agent.name);
            format!("\n  {namespace}/{name}: {}", agent.why_unsettled())
        })
        .collect();
    let seconds = SETTLE_LIMIT.as_secs();
    (!waiting.is_empty()).then(|| format!("not settled within {seconds} s:{}", waiting.concat()))
}

fn is_on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}

/// Tells what is done, and how long it has been.
struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn say(&self, what: &str) -> Duration {
        let elapsed = self.0.elapsed();
        talk::say(format!("{:>5.1} s  {what}", elapsed.as_secs_f64()));
        elapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_keeps_everything_behind_its_first_equals_sign() {
        assert_eq!(setting("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert_eq!(setting("A="), Ok(("A".to_owned(), String::new())));
        assert!(setting("A").is_err());
        assert!(setting("=b").is_err());
    }

    #[test]
    fn the_samples_are_called_as_in_the_repository() {
        let manifests = manifests(&[]).unwrap();
        let files: Vec<_> = manifests
            .iter()
            .map(|manifest| manifest.file.display().to_string())
            .collect();
        assert!(
            files.contains(&"manifests/samples/claudecode.yaml".to_owned()),
            "{files:?}"
        );
    }
}
