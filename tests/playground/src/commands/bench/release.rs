//! Release builds, and going on as one.

use std::{
    collections::HashMap,
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
    talk::say("building the manager and the benchmark in release mode (minutes, the first time)");
    // Both at once, and as the manager is built for a release build of the playground: no library twice.
    let binary = build(&["--workspace", "--bin=agentkube", "--bin=playground"])
        .await?
        .remove("playground")
        .context("Cargo has built no `playground`")?;
    // In the place of this process, so that Ctrl-C and the exit status need nobody in between.
    let error = Command::new(&binary)
        .args(std::env::args_os().skip(1))
        .exec();
    Err(error).with_context(|| format!("cannot start `{}`", binary.display()))
}

/// Builds a release of these targets, and gives the programs that came of it by the names of the targets.
///
/// # Errors
///
/// The build fails.
pub(super) async fn build(targets: &[&str]) -> anyhow::Result<HashMap<String, PathBuf>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let output = tokio::process::Command::new(&cargo)
        .args(["build", "--release"])
        .args(targets)
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
        bail!("the release build failed ({})", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| {
            let name = message
                .pointer("/target/name")?
                .as_str()?;
            let path = message.get("executable")?.as_str()?;
            Some((name.to_owned(), path.into()))
        })
        .collect())
}
