//! The programs that tests of mirroring need besides a control plane: built with Go, once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::golang::{Module, locate};

/// The Go module with the tools.
const MODULE: Module = Module {
    folder: "mirrortools",
    title: "the tools of mirroring",
    time: "about 4 minutes on 2 cores",
};

/// Each program and the Go package that it is built from.
const PROGRAMS: [(&str, &str); 3] = [
    ("crane", "github.com/google/go-containerregistry/cmd/crane"),
    (
        "registry",
        "github.com/distribution/distribution/v3/cmd/registry",
    ),
    ("regsync", "github.com/regclient/regclient/cmd/regsync"),
];

/// A registry, and tools that fill it.
#[derive(Clone, Debug)]
pub struct MirrorTools {
    /// `crane` of go-containerregistry.
    pub crane: PathBuf,
    /// The registry of the distribution project.
    pub registry: PathBuf,
    /// `regsync` of regclient.
    pub regsync: PathBuf,
}

impl MirrorTools {
    /// Finds the programs in the cache `agentkube/mirrortools/HASH`, or builds them with Go into it.
    ///
    /// # Errors
    ///
    /// They are not there and Go is missing, or the build fails.
    pub async fn locate() -> anyhow::Result<Self> {
        let [crane, registry, regsync] = locate(MODULE, PROGRAMS, &[]).await?;
        Ok(Self {
            crane,
            registry,
            regsync,
        })
    }

    /// Runs a plan of `agentkube images plan` by the very command that its heading names.
    ///
    /// # Errors
    ///
    /// It names none, or the command fails; the error shows what it said.
    pub async fn run(&self, plan: &str) -> anyhow::Result<()> {
        let command = plan
            .lines()
            .find_map(|line| line.strip_prefix("# Run: "))
            .context("the plan has no line `# Run:`")?;
        let file = command
            .split(' ')
            .find(|word| {
                [".sh", ".yaml"]
                    .iter()
                    .any(|end| word.ends_with(end))
            })
            .context("the plan's command does not name the plan's file")?;
        let directory = tempfile::tempdir()?;
        fs::write(directory.path().join(file), plan)?;
        let ours = self
            .crane
            .parent()
            .map(Path::to_path_buf);
        let theirs = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(
            ours.into_iter()
                .chain(std::env::split_paths(&theirs)),
        )?;
        let output = Command::new("sh")
            .args(["-euc", command])
            .current_dir(directory.path())
            // Nobody's credentials, and no state that another run could find.
            .env("HOME", directory.path())
            .env("PATH", path)
            .stdin(Stdio::null())
            .output()
            .await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`{command}` failed ({}):\n{plan}\n{said}", output.status);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golang::expect_tools;

    #[test]
    fn every_program_is_a_tool_of_the_module() {
        expect_tools(MODULE, &PROGRAMS.map(|(_, package)| package));
    }
}
