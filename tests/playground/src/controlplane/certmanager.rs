//! cert-manager's own controllers, beside a control plane.

use std::{env, fs, process::Command};

use anyhow::Context;

use crate::{
    controlplane::running::ControlPlane,
    golang::{self, Module},
    process::Process,
};

/// The Go module that puts the controllers together.
const MODULE: Module = Module {
    folder: "certmanager",
    title: "the controllers of cert-manager",
    time: "about 3 minutes on 2 cores",
};

/// The module's own program is named after it.
const PROGRAM: (&str, &str) = ("certmanager", ".");

const SOURCE: &str = include_str!("../../../certmanager/main.go");

/// The module with the resource definitions (Apache-2.0), and the folder in it.
const DEPENDENCY: &str = "github.com/cert-manager/cert-manager";
const DEFINITIONS: &str = "deploy/crds";

/// cert-manager's controllers and CA injector, which may do everything. Dropping them kills them.
#[derive(Debug)]
pub struct CertManager {
    process: Process,
}

impl CertManager {
    /// The resource definitions, as YAML: Go has them in the module that the controllers are built from.
    ///
    /// # Errors
    ///
    /// Go is missing, or cannot download the module.
    pub async fn definitions() -> anyhow::Result<String> {
        let folder = golang::folder(MODULE, DEPENDENCY, &env::temp_dir())
            .await?
            .join(DEFINITIONS);
        let mut files = fs::read_dir(&folder)
            .with_context(|| format!("cannot read `{}`", folder.display()))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()?;
        files.retain(|file| {
            file.extension()
                .is_some_and(|extension| extension == "yaml")
        });
        files.sort();
        let texts = files
            .iter()
            .map(fs::read_to_string)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(texts.join("\n---\n"))
    }

    /// Starts them; their resource definitions have to be there. They say nothing of being ready: what they do shows it.
    ///
    /// # Errors
    ///
    /// The program cannot be built, or not be started.
    pub async fn start(control_plane: &ControlPlane) -> anyhow::Result<Self> {
        let [program] = golang::locate(MODULE, [PROGRAM], &[SOURCE]).await?;
        let mut command = Command::new(program);
        command
            .arg("--kubeconfig")
            .arg(control_plane.admin_kubeconfig())
            .current_dir(control_plane.directory());
        let process = Process::start("certmanager", command, control_plane.directory())?;
        Ok(Self { process })
    }

    /// The end of what they said.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.process.log_tail(40)
    }
}
