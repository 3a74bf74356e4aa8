//! Building the programs of a control plane with Go, once, into the user's cache.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use crate::{
    controlplane::{
        parts::{PARTS, Part},
        versions,
    },
    golang::{Module, Work, cache_of, compile, folder, lock, why_no_go},
};

/// The folders of the module `sigs.k8s.io/kwok` (Apache-2.0) whose stages make up `stages.yaml`.
const STAGES: [&str; 3] = [
    "kustomize/stage/node/fast",
    "kustomize/stage/node/heartbeat-with-lease",
    "kustomize/stage/pod/fast",
];

/// Where the programs of this version of the control plane are kept.
pub(crate) fn cache_directory() -> anyhow::Result<PathBuf> {
    let module = versions::chosen()?;
    let arguments = arguments(module, &PARTS, Path::new(""))?;
    let texts = arguments
        .iter()
        .map(String::as_str)
        .chain(STAGES);
    cache_of(module, texts)
}

/// Builds `parts` into `cache`, but for those that are there. Another process may be about the same: one of them
/// builds, the other waits.
pub(crate) async fn build(cache: &Path, parts: &[Part]) -> anyhow::Result<()> {
    let missing = || {
        let mut missing = parts.to_vec();
        missing.retain(|part| !cache.join(part.file()).is_file());
        missing
    };
    let module = versions::chosen()?;
    require_go(module, &missing())?;
    fs::create_dir_all(cache).with_context(|| format!("cannot create `{}`", cache.display()))?;
    let _lock = lock(module, cache).await?;
    // Asked again: somebody else may have built them in the meantime.
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let work = Work::start(cache)?;
    let programs = missing
        .iter()
        .filter(|part| part.package().is_some())
        .count();
    let arguments = arguments(module, &missing, &work.bin())?;
    compile(module, &work, &arguments, programs).await?;
    if missing.contains(&Part::Stages) {
        collect_stages(module, &work.0).await?;
    }
    for part in missing {
        // A rename is all or nothing: whoever finds the file finds it whole.
        let from = match part {
            Part::Etcd => "bin/server",
            Part::Stages => part.file(),
            _ => &format!("bin/{}", part.file()),
        };
        fs::rename(work.0.join(from), cache.join(part.file()))
            .with_context(|| format!("the build left no `{from}`"))?;
    }
    Ok(())
}

/// Joins KWOK's stages into one file. They are taken from the module, so that they fit the program; and kept,
/// as Go may be gone later.
async fn collect_stages(module: Module, work: &Path) -> anyhow::Result<()> {
    let directory = folder(module, "sigs.k8s.io/kwok", work).await?;
    let mut stages = String::new();
    for folder in STAGES {
        let folder = directory.join(folder);
        let entries =
            fs::read_dir(&folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
        let mut files: Vec<_> = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        for file in files {
            let is_yaml = file.extension() == Some(OsStr::new("yaml"));
            if is_yaml && file.file_stem() != Some(OsStr::new("kustomization")) {
                stages.push_str("---\n");
                stages.push_str(&fs::read_to_string(&file)?);
                stages.push('\n');
            }
        }
    }
    fs::write(work.join(Part::Stages.file()), stages)?;
    Ok(())
}

/// What `go` is to do: the same for everybody, or it would have to be part of the hash.
fn arguments(module: Module, parts: &[Part], bin: &Path) -> anyhow::Result<Vec<String>> {
    let version = kubernetes_version(&fs::read_to_string(module.path().join("go.mod"))?)?;
    let mut numbers = version
        .trim_start_matches('v')
        .split('.');
    let (major, minor) = (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    );
    // Without these the servers call themselves `v0.0.0-master+$Format…`, which clients refuse to parse.
    let package = "k8s.io/component-base/version";
    let linker = format!(
        "-s -w -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    );
    let mut arguments: Vec<_> = ["build", "-mod=readonly", "-trimpath", "-ldflags"]
        .map(str::to_owned)
        .into();
    arguments.push(linker);
    arguments.push("-o".to_owned());
    // A folder, also if it is one program alone.
    arguments.push(format!("{}/", bin.display()));
    arguments.extend(
        parts
            .iter()
            .filter_map(|part| part.package().map(str::to_owned)),
    );
    Ok(arguments)
}

/// The version of `k8s.io/kubernetes` that the module requires, such as `v1.36.3`.
fn kubernetes_version(go_mod: &str) -> anyhow::Result<String> {
    let mut lines = go_mod
        .lines()
        .map(str::split_whitespace);
    let version = lines
        .find_map(|mut words| (words.next() == Some("k8s.io/kubernetes")).then(|| words.next())?);
    Ok(version
        .context("`go.mod` requires no `k8s.io/kubernetes`")?
        .to_owned())
}

/// Fails where Go is needed and missing.
fn require_go(module: Module, missing: &[Part]) -> anyhow::Result<()> {
    let Some(reason) = why_no_go(module) else {
        return Ok(());
    };
    let names: Vec<_> = missing
        .iter()
        .map(|part| part.file())
        .collect();
    bail!(
        "cannot build the control plane ({} not found): {reason}\n\n\
         hint: install Go 1.26 or newer (https://go.dev/dl), \
         or set `KUBEBUILDER_ASSETS` to a folder with these programs",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golang::expect_tools;

    #[test]
    fn the_version_is_that_of_the_module() {
        for (minor, module) in versions::VERSIONS {
            let go_mod = fs::read_to_string(module.path().join("go.mod")).unwrap();
            let version = kubernetes_version(&go_mod).unwrap();
            assert!(version.starts_with(&format!("v{minor}.")), "{version}");
            let arguments = arguments(module, &[Part::Kwok], Path::new("/bin-folder")).unwrap();
            assert!(
                arguments
                    .iter()
                    .any(|argument| argument.contains(&format!("gitVersion={version} ")))
            );
            assert_eq!(arguments.last().unwrap(), "sigs.k8s.io/kwok/cmd/kwok");
        }
    }

    #[test]
    fn every_program_is_a_tool_of_the_module() {
        let packages: Vec<_> = PARTS
            .iter()
            .filter_map(|part| part.package())
            .collect();
        for (_, module) in versions::VERSIONS {
            expect_tools(module, &packages);
        }
    }
}
