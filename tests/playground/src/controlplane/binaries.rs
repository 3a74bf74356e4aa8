//! The programs of a control plane: found, or built.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use crate::{
    controlplane::{
        build,
        parts::{PARTS, Part},
    },
    talk,
};

/// The folder of ready-made programs that envtest uses too.
const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// What a control plane consists of.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the programs speak for themselves")]
pub struct Binaries {
    pub etcd: PathBuf,
    pub kube_apiserver: PathBuf,
    pub kube_controller_manager: PathBuf,
    pub kube_scheduler: PathBuf,
    pub kubectl: PathBuf,
    pub kwok: PathBuf,
    /// The file with KWOK's stages: how fake nodes and pods come up and go away.
    pub stages: PathBuf,
}

impl Binaries {
    /// Finds each program in the folder `KUBEBUILDER_ASSETS`, else in the cache, else builds it with Go into the cache.
    ///
    /// The cache is `agentkube/controlplane/HASH` in `$XDG_CACHE_HOME` or `~/.cache`. A first build takes minutes
    /// and shows its progress; drop the future to end it.
    ///
    /// # Errors
    ///
    /// `KUBEBUILDER_ASSETS` is no folder with programs; a program is in neither place and Go is missing, too;
    /// the build fails.
    pub async fn locate() -> anyhow::Result<Self> {
        let assets = assets()?;
        let cache = build::cache_directory()?;
        let is_supplied = |part: &Part| {
            assets
                .iter()
                .any(|folder| folder.join(part.file()).is_file())
        };
        let is_cached = |part: &Part| cache.join(part.file()).is_file();

        let (supplied, rest): (Vec<_>, Vec<_>) = PARTS.into_iter().partition(is_supplied);
        if !rest.iter().all(is_cached) {
            build::build(&cache, &rest).await?;
        }
        if let Some(folder) = &assets {
            let names = |parts: &[Part]| {
                let names: Vec<_> = parts
                    .iter()
                    .map(|part| part.file())
                    .collect();
                names.join(", ")
            };
            talk::say(format!("from `{}`: {}", folder.display(), names(&supplied)));
            if !rest.is_empty() {
                talk::say(format!("from `{}`: {}", cache.display(), names(&rest)));
            }
        }

        let path = |part: Part| match &assets {
            Some(folder) if is_supplied(&part) => folder.join(part.file()),
            _ => cache.join(part.file()),
        };
        Ok(Self {
            etcd: path(Part::Etcd),
            kube_apiserver: path(Part::KubeApiserver),
            kube_controller_manager: path(Part::KubeControllerManager),
            kube_scheduler: path(Part::KubeScheduler),
            kubectl: path(Part::Kubectl),
            kwok: path(Part::Kwok),
            stages: path(Part::Stages),
        })
    }
}

/// The folder that `KUBEBUILDER_ASSETS` names. Blank is unset; a folder that helps with nothing is a mistake to be told.
fn assets() -> anyhow::Result<Option<PathBuf>> {
    let Some(value) = std::env::var_os(ASSETS).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let folder = Path::new(&value);
    let shown = folder.display();
    // Absolute, because programs are started from other directories too.
    let folder = fs::canonicalize(folder)
        .with_context(|| format!("`{ASSETS}` names a folder that cannot be read: {shown}"))?;
    if !PARTS
        .iter()
        .any(|part| folder.join(part.file()).is_file())
    {
        let names: Vec<_> = PARTS
            .iter()
            .map(|part| part.file())
            .collect();
        bail!(
            "`{ASSETS}` names a folder that holds none of {}: {shown}",
            names.join(", ")
        );
    }
    Ok(Some(folder))
}
