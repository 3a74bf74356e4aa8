//! Going on as a release build.

use std::{
    convert::Infallible,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use agentkube_playground::talk;
use anyhow::{Context, bail};

/// Builds a release of the manager and of this program, and goes on as the latter, with the same arguments. Returns only
/// where that fails: otherwise a client that is not optimised would be what is measured.
///
/// # Errors
///
/// The build fails, or its result cannot be started.
pub(super) async fn go_on() -> anyhow::Result<Infallible> {
    talk::say("building a release of the manager and of the benchmark (minutes, the first time)");
    let binary = build().await?;
    // In the place of this process, so that Ctrl-C and the exit status need nobody in between.
    let error = Command::new(&binary)
        .args(std::env::args_os().skip(1))
        .exec();
    Err(error).with_context(|| format!("cannot start `{}`", binary.display()))
}

async fn build() -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let output = tokio::process::Command::new(&cargo)
        // Both at once, and as the manager is built for a release build of the playground: no library twice.
        .args([
            "build",
            "--workspace",
            "--bin=agentkube",
            "--bin=playground",
            "--release",
        ])
        .arg("--message-format=json-render-diagnostics")
        .arg("--manifest-path")
        .arg(manifest)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run `{}`", cargo.display()))?;
    if !output.status.success() {
        bail!("a release cannot be built ({})", output.status);
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)))
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name == "playground")
        })
        .context("Cargo has built no `playground`")
}
