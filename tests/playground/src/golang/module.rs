//! A Go module beside this package, and what Go is asked about it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

/// A Go module beside this package, whose programs are built once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Module {
    /// Its folder, here and in the cache.
    pub(crate) folder: &'static str,
    /// What its programs are together, as people say it.
    pub(crate) title: &'static str,
    /// How long a build takes, as people say it.
    pub(crate) time: &'static str,
}

impl Module {
    pub(crate) fn path(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(self.folder)
    }
}

/// Why there is no Go that can build the module, if so. Asked in its folder: a Go that is too old says so there,
/// or fetches a newer one.
pub(crate) fn why_no_go(module: Module) -> Option<String> {
    match go(module, &std::env::temp_dir())
        .arg("version")
        .output()
    {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(
            String::from_utf8_lossy(&output.stderr)
                .trim()
                .to_owned(),
        ),
        Err(error) => Some(format!("`go` cannot be run ({error})")),
    }
}

/// `go`, in the module's folder.
pub(crate) fn go(module: Module, work: &Path) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(module.path())
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        // Go leaves its temporary files behind when it is killed: they go with our directory.
        .env("GOTMPDIR", work);
    command
}

/// The folder with the files of `dependency`, which `module` requires; Go downloads it where it has to.
pub(crate) async fn folder(
    module: Module,
    dependency: &str,
    work: &Path,
) -> anyhow::Result<PathBuf> {
    output(module, work, &["mod", "download", dependency]).await?;
    let list = ["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", dependency];
    let directory = output(module, work, &list).await?;
    Ok(PathBuf::from(directory.trim()))
}

async fn output(module: Module, work: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let shown = format!("go {}", arguments.join(" "));
    let output = tokio::process::Command::from(go(module, work))
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run `{shown}`"))?;
    if !output.status.success() {
        bail!(
            "`{shown}` failed ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
