//! The programs that tests of mirroring need besides a control plane: built with Go, once.

use std::{fs, path::PathBuf};

use anyhow::{Context, bail};

use crate::gobuild::{self, Module, Work};

/// The Go module with the tools.
const MODULE: Module = Module {
    folder: "mirrortools",
    title: "the tools of mirroring",
    time: "about 4 minutes on 2 cores",
};

/// Each program and the Go package that it is built from.
const PROGRAMS: [(&str, &str); 2] = [
    (
        "registry",
        "github.com/distribution/distribution/v3/cmd/registry",
    ),
    ("regsync", "github.com/regclient/regclient/cmd/regsync"),
];

const BUILD: [&str; 5] = ["build", "-mod=readonly", "-trimpath", "-ldflags", "-s -w"];

/// A registry, and a tool that fills it.
#[derive(Clone, Debug)]
pub struct MirrorTools {
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
        let packages = PROGRAMS.map(|(_, package)| package);
        let cache = gobuild::cache_of(MODULE, BUILD.into_iter().chain(packages))?;
        let is_whole = || {
            PROGRAMS
                .iter()
                .all(|(name, _)| cache.join(name).is_file())
        };
        if !is_whole() {
            if let Some(reason) = gobuild::why_no_go(MODULE) {
                bail!(
                    "no tools of mirroring, and {reason}\n\n\
                     hint: install Go 1.26 or newer (https://go.dev/dl), with which they are built once"
                );
            }
            fs::create_dir_all(&cache)
                .with_context(|| format!("cannot create `{}`", cache.display()))?;
            let _lock = gobuild::lock(MODULE, &cache).await?;
            // Asked again: somebody else may have built them in the meantime.
            if !is_whole() {
                let work = Work::start(&cache)?;
                let mut arguments = BUILD.map(str::to_owned).to_vec();
                arguments.extend(["-o".to_owned(), format!("{}/", work.bin().display())]);
                arguments.extend(packages.map(str::to_owned));
                gobuild::compile(MODULE, &work, &arguments, PROGRAMS.len()).await?;
                for (name, _) in PROGRAMS {
                    fs::rename(work.bin().join(name), cache.join(name))
                        .with_context(|| format!("the build left no `{name}`"))?;
                }
            }
        }
        let [registry, regsync] = PROGRAMS.map(|(name, _)| cache.join(name));
        Ok(Self { registry, regsync })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_a_tool_of_the_module() {
        let go_mod = fs::read_to_string(MODULE.path().join("go.mod")).unwrap();
        for (_, package) in PROGRAMS {
            assert!(
                go_mod
                    .lines()
                    .any(|line| line.trim() == package),
                "{package}"
            );
        }
    }
}
