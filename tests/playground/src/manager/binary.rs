//! The manager's binary, built from this workspace.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, bail};

/// Builds `agentkube` with Cargo, in the profile that this program was built in, and says where it is.
///
/// Tests don't need this: Cargo has built it for them, as `env!("CARGO_BIN_EXE_agentkube")`.
///
/// # Errors
///
/// Cargo cannot be run, or the build fails; it says on stderr what is wrong.
pub async fn build_manager() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    // `target/debug/playground`, or `target/TRIPLE/release/playground`.
    let folder = own
        .parent()
        .context("this program is in no folder")?;
    let profile = match folder.file_name() {
        Some(name) if name == "debug" => "dev".as_ref(),
        Some(name) => name,
        None => bail!("`{}` was not built by Cargo", own.display()),
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let status = tokio::process::Command::new(&cargo)
        // Of the whole workspace: dependencies built with the features of one package would be of no use to the tests.
        .args(["build", "--workspace", "--bin=agentkube"])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--profile")
        .arg(profile)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .with_context(|| format!("cannot run `{}`", cargo.display()))?;
    if !status.success() {
        bail!("`agentkube` cannot be built ({status})");
    }
    let binary = folder.join("agentkube");
    if !binary.is_file() {
        bail!(
            "Cargo has built `agentkube`, but not as `{}`",
            binary.display()
        );
    }
    Ok(binary)
}
