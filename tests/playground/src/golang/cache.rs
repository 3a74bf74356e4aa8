//! The user's cache of what Go has built: a directory for each version of a module.

use std::{
    env::consts::{ARCH, OS},
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use tokio::time::sleep;

use crate::{
    golang::module::Module,
    process::{live, state},
    talk,
};

/// Starts the names of directories with builds under way.
const UNFINISHED: &str = "unfinished-";

/// Where the programs of this version of a Go module are kept; `texts` are what they depend on besides it.
pub(crate) fn cache_of<'a>(
    module: Module,
    texts: impl Iterator<Item = &'a str>,
) -> anyhow::Result<PathBuf> {
    let cache = absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .context("there is no cache directory\n\nhint: set `HOME` or `XDG_CACHE_HOME`")?;
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

/// The directory of a build. It goes when the build has ended, one way or the other.
pub(crate) struct Work(pub(crate) PathBuf);

impl Work {
    /// Makes a directory in a cache that we have locked.
    pub(crate) fn start(cache: &Path) -> anyhow::Result<Self> {
        sweep(cache);
        let directory = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(cache)?;
        let work = Self(directory.keep());
        live::keep_track(&work.0);
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
        live::delete(&self.0);
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
                "waiting for another process that builds {}",
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

    #[test]
    fn the_hash_agrees_with_its_published_example() {
        let mut hash = Fnv::default();
        for byte in b"foobar" {
            hash.add_byte(*byte);
        }
        assert_eq!(hash.0, 0x8594_4171_f739_67e8);
    }
}
