//! Programs of a Go module beside this package: found in the cache, or built with Go into it.

use std::{fs, path::PathBuf};

use anyhow::{Context, bail};

use crate::golang::{
    cache::{Work, cache_of, lock},
    compile::compile,
    module::{Module, why_no_go},
};

const BUILD: [&str; 5] = ["build", "-mod=readonly", "-trimpath", "-ldflags", "-s -w"];

/// Where the programs are, each given by its file and the Go package that it is built from. `sources` are the texts
/// of packages of the module itself, which its `go.sum` says nothing about.
///
/// The cache is `agentkube/FOLDER/HASH` in `$XDG_CACHE_HOME` or `~/.cache`.
///
/// # Errors
///
/// They are not there and Go is missing, or the build fails.
pub(crate) async fn locate<const N: usize>(
    module: Module,
    programs: [(&str, &str); N],
    sources: &[&str],
) -> anyhow::Result<[PathBuf; N]> {
    let packages = programs.map(|(_, package)| package);
    let texts = BUILD
        .into_iter()
        .chain(packages)
        .chain(sources.iter().copied());
    let cache = cache_of(module, texts)?;
    let is_whole = || {
        programs
            .iter()
            .all(|(name, _)| cache.join(name).is_file())
    };
    if !is_whole() {
        if let Some(reason) = why_no_go(module) {
            bail!(
                "cannot build {}: {reason}\n\n\
                 hint: install Go 1.26 or newer (https://go.dev/dl)",
                module.title
            );
        }
        fs::create_dir_all(&cache)
            .with_context(|| format!("cannot create `{}`", cache.display()))?;
        let _lock = lock(module, &cache).await?;
        // Asked again: somebody else may have built them in the meantime.
        if !is_whole() {
            let work = Work::start(&cache)?;
            let mut arguments = BUILD.map(str::to_owned).to_vec();
            arguments.extend(["-o".to_owned(), format!("{}/", work.bin().display())]);
            arguments.extend(packages.map(str::to_owned));
            compile(module, &work, &arguments, N).await?;
            for (name, _) in programs {
                fs::rename(work.bin().join(name), cache.join(name))
                    .with_context(|| format!("the build left no `{name}`"))?;
            }
        }
    }
    Ok(programs.map(|(name, _)| cache.join(name)))
}

#[cfg(test)]
pub(crate) fn expect_tools(module: Module, packages: &[&str]) {
    let go_mod = fs::read_to_string(module.path().join("go.mod"));
    let go_mod = go_mod.unwrap_or_default();
    for package in packages {
        let is_tool = |line: &str| line.trim().trim_start_matches("tool ") == *package;
        assert!(go_mod.lines().any(is_tool), "{package}");
    }
}
