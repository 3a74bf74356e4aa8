//! Building the programs with Go, once, into a cache of the user.

use std::{
    env::consts::{ARCH, OS},
    ffi::OsStr,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::time::sleep;

use crate::{
    binaries::{PARTS, Part},
    process::Process,
    state,
    talk::{self, Progress},
    versions,
};

/// The folders of the module `sigs.k8s.io/kwok` (Apache-2.0) whose stages make up `stages.yaml`.
const STAGES: [&str; 3] = [
    "kustomize/stage/node/fast",
    "kustomize/stage/node/heartbeat-with-lease",
    "kustomize/stage/pod/fast",
];

/// Starts the names of directories with builds under way.
const UNFINISHED: &str = "unfinished-";

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

/// Where the programs of this version of a Go module are kept; `texts` are what they depend on besides it.
pub(crate) fn cache_of<'a>(
    module: Module,
    texts: impl Iterator<Item = &'a str>,
) -> anyhow::Result<PathBuf> {
    let cache = absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .context("no place for a cache\n\nhint: set `HOME` or `XDG_CACHE_HOME`")?;
    let mut hash = Fnv::default();
    for file in ["go.mod", "go.sum"] {
        let path = module.path().join(file);
        hash.add(&fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?);
    }
    for text in texts.chain([OS, ARCH]) {
        hash.add(text.as_bytes());
    }
    Ok(cache
        .join("agentkube")
        .join(module.folder)
        .join(format!("{:016x}", hash.0)))
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

/// The directory of a build. It goes when the build has ended, one way or the other.
pub(crate) struct Work(PathBuf);

impl Work {
    /// Makes a directory in a cache that we have locked.
    pub(crate) fn start(cache: &Path) -> anyhow::Result<Self> {
        sweep(cache);
        let directory = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(cache)?;
        let work = Self(directory.keep());
        crate::live::keep_track(&work.0);
        fs::create_dir(work.bin())?;
        Ok(work)
    }

    /// Where the programs come out.
    pub(crate) fn bin(&self) -> PathBuf {
        self.0.join("bin")
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        crate::live::delete(&self.0);
    }
}

/// Compiles all programs at once, as they share most packages.
pub(crate) async fn compile(
    module: Module,
    work: &Work,
    arguments: &[String],
    programs: usize,
) -> anyhow::Result<()> {
    if programs == 0 {
        return Ok(());
    }
    let Module {
        folder: _,
        title,
        time,
    } = module;
    talk::say(format!(
        "building {title} from `{}`, once: {time}, seconds if Go has built it before",
        module.path().display()
    ));
    let (bin, work) = (work.bin(), &work.0);
    let mut command = go(module, work);
    command.args(arguments);
    let mut build = Process::start("go-build", command, work)?;
    let (start, mut progress) = (Instant::now(), Progress::new());
    let status = loop {
        if let Some(status) = build.exit_status() {
            break status;
        }
        progress.update(&report(start.elapsed(), &built(&bin), programs));
        sleep(Duration::from_millis(200)).await;
    };
    drop(progress);
    if !status.success() {
        bail!("`go build` failed ({status}):\n{}", build.log_tail(15));
    }
    talk::say(format!("built {title} in {} s", start.elapsed().as_secs()));
    Ok(())
}

/// The programs that are linked already.
fn built(bin: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(bin)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| {
            match entry
                .file_name()
                .to_string_lossy()
                .into_owned()
            {
                name if name == "server" => "etcd".to_owned(),
                name => name,
            }
        })
        .collect();
    names.sort();
    names
}

fn report(elapsed: Duration, built: &[String], programs: usize) -> String {
    let seconds = elapsed.as_secs();
    let count = built.len();
    let mut line = format!(
        "building with Go: {}:{:02}, {count} of {programs} programs",
        seconds / 60,
        seconds % 60
    );
    if count > 0 {
        line.push_str(": ");
        line.push_str(&built.join(", "));
    }
    line
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

/// `go`, in the module's folder.
fn go(module: Module, work: &Path) -> Command {
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
        "no control plane: {} not found, and {reason}\n\n\
         hint: install Go 1.26 or newer (https://go.dev/dl), with which they are built once; \
         or set `KUBEBUILDER_ASSETS` to a folder that holds them",
        names.join(", ")
    )
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

/// Locks the cache for one build. The lock ends with its holder, whatever happens to it.
pub(crate) async fn lock(module: Module, cache: &Path) -> anyhow::Result<File> {
    let path = cache.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write `{}`", path.display()))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error.into()),
            Err(TryLockError::WouldBlock) => {}
        }
        if !told {
            talk::say(format!(
                "another process builds {}: waiting for it",
                module.title
            ));
            told = true;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Removes what killed builds left. We hold the lock, so none of them is under way.
fn sweep(cache: &Path) {
    let entries = fs::read_dir(cache)
        .into_iter()
        .flatten();
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        if name
            .to_string_lossy()
            .starts_with(UNFINISHED)
        {
            state::sweep_directory(&entry.path());
        }
    }
}

/// The path in an environment variable. A relative one is to be ignored, says the specification of XDG.
fn absolute(variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os(variable)?);
    path.is_absolute().then_some(path)
}

/// FNV-1a with 64 bits: a name for a directory that stays the same with every Rust version. It keeps out
/// accidents, not attackers.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        // Ended by a byte that is in none of the texts, so that `ab`, `c` differs from `a`, `bc`.
        for byte in bytes.iter().chain(&[0xff]) {
            self.add_byte(*byte);
        }
    }

    fn add_byte(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gotools;

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
            gotools::expect_tools(module, &packages);
        }
    }

    #[test]
    fn the_hash_agrees_with_its_published_example() {
        let mut hash = Fnv::default();
        for byte in b"foobar" {
            hash.add_byte(*byte);
        }
        assert_eq!(hash.0, 0x8594_4171_f739_67e8);
    }

    #[test]
    fn progress_names_what_is_there() {
        let line = report(Duration::from_secs(75), &["etcd".to_owned()], 6);
        assert_eq!(line, "building with Go: 1:15, 1 of 6 programs: etcd");
    }
}
