//! Bringing everything up, applying manifests, and telling what came of it.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use agentkube_playground::{
    AgentReport, Binaries, ControlPlane, ControlPlaneOptions, Installation, Manager,
    ManagerOptions, Manifest, Report, Seconds, Shutdown, apply, build_manager, free_ports,
    read_manifests, settle, talk,
};
use anyhow::{Context, bail};

/// What is applied if nothing else is asked for, relative to the repository.
const SAMPLES: &str = "manifests/samples";

/// How long Agents may take to settle.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);

/// How often it is looked whether everything is still well.
const LOOK: Duration = Duration::from_millis(500);

/// The exit status that shells give to Ctrl-C.
const INTERRUPTED: u8 = 130;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// End when every Agent has settled, in place of staying until Ctrl-C
    #[arg(long)]
    once: bool,
    /// Print one JSON document on stdout, in place of text
    #[arg(long)]
    json: bool,
    /// A setting for the manager; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    env: Vec<(String, String)>,
    /// Manifests to apply in place of the samples; may be repeated
    #[arg(long, value_name = "FILE|DIR")]
    apply: Vec<PathBuf>,
}

/// Runs until Ctrl-C, or once.
///
/// # Errors
///
/// Something does not come up, or ends while it should run.
pub(crate) async fn run(args: Args, shutdown: &Shutdown) -> anyhow::Result<ExitCode> {
    // What is interrupted is dropped half-way, and cleans up after itself.
    tokio::select! {
        result = up(args, shutdown) => result,
        () = shutdown.asked() => {
            talk::say("interrupted, nothing is left running");
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

async fn up(args: Args, shutdown: &Shutdown) -> anyhow::Result<ExitCode> {
    let Args {
        once,
        json,
        env,
        apply: paths,
    } = args;
    // First of all, so that a typing error does not have to wait for a control plane.
    let manifests = manifests(&paths)?;
    let binary = build_manager().await?;
    let binaries = Binaries::locate().await?;
    let clock = Clock::start();

    let control_plane = ControlPlane::start(&binaries, ControlPlaneOptions::default()).await?;
    let up = clock.say("the control plane is up");

    let [webhook_port] = free_ports()?;
    let installation = Installation::apply(&control_plane, webhook_port).await?;
    clock.say("agentkube is installed");
    let mut manager = Manager::start(
        &control_plane,
        ManagerOptions {
            webhook_port: Some(webhook_port),
            env,
            ..ManagerOptions::new(binary)
        },
    )
    .await?;
    installation
        .until_webhooks_answer()
        .await?;
    let ready = clock.say("the manager is ready and its webhooks answer");

    let client = control_plane.client();
    let applied = apply(&client, manifests).await?;
    clock.say("the manifests are applied");
    let agents = settle(&client, SETTLE_LIMIT, || manager.expect_running()).await?;
    let waiting = unsettled(&agents);
    let total = match &waiting {
        None => clock.say("every Agent has settled"),
        Some(waiting) => clock.say(waiting),
    };
    let seconds = Seconds {
        control_plane: up,
        manager: ready.saturating_sub(up),
        total,
    };
    let report = Report::new(agents, applied, seconds);
    print(&if json {
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        format!("\n{report}")
    })?;

    let result = if once {
        Ok(())
    } else {
        let samples = paths.is_empty();
        talk::say(invitation(&control_plane, &binaries, &manager, samples));
        stay(shutdown, &mut manager).await
    };
    manager.stop().await;
    // Nobody will read what it holds, so there is nothing to end in order.
    drop(control_plane);
    result?;
    match waiting {
        None => Ok(ExitCode::SUCCESS),
        Some(_) => bail!("not every Agent has settled"),
    }
}

/// Waits for Ctrl-C, and notices if the manager ends by itself.
async fn stay(shutdown: &Shutdown, manager: &mut Manager) -> anyhow::Result<()> {
    while !shutdown.is_asked() {
        manager.expect_running()?;
        let _ = tokio::time::timeout(LOOK, shutdown.asked()).await;
    }
    Ok(())
}

/// Reads what to apply. Files of the samples are called as they are called in the repository.
fn manifests(paths: &[PathBuf]) -> anyhow::Result<Vec<Manifest>> {
    if !paths.is_empty() {
        return read_manifests(paths);
    }
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .context("the repository is not where it was when this was built")?;
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

/// What a person can do now.
fn invitation(
    control_plane: &ControlPlane,
    binaries: &Binaries,
    manager: &Manager,
    samples: bool,
) -> String {
    let mut lines = vec![
        String::new(),
        "Have a look from another terminal:".to_owned(),
        String::new(),
        format!(
            "  export KUBECONFIG={}",
            control_plane
                .admin_kubeconfig()
                .display()
        ),
    ];
    if !is_on_path("kubectl") {
        lines.push(format!("  alias kubectl={}", binaries.kubectl.display()));
    }
    lines.push("  kubectl get agents -A -o wide".to_owned());
    if samples {
        lines.extend(
            [
                "  kubectl get pod triage-bot -n adaptive -o yaml",
                "  kubectl patch agent night-watch -n adaptive --type merge -p '{\"spec\":{\"paused\":false}}'",
                "  kubectl apply -f manifests/samples/rejected/custom-without-image.yaml",
                "  kubectl delete pod triage-bot -n adaptive; kubectl get pods -n adaptive --watch",
            ]
            .map(str::to_owned),
        );
    }
    lines.extend([
        format!("  tail -f {}", manager.log_path().display()),
        format!("  curl http://127.0.0.1:{}/metrics", manager.metrics_port()),
        String::new(),
        "Press Ctrl-C to stop".to_owned(),
    ]);
    lines.join("\n")
}

fn is_on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}

/// Data, for stdout. A reader that went away (`| head`) is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to stdout")
        }
        _ => Ok(()),
    }
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
