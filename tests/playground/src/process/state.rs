//! The directory with everything that a control plane writes, and sweeping up after a run that was killed.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::process::live;

/// Starts the name of every state directory.
const PREFIX: &str = "agentkube-playground-";

/// The file in it that its owner keeps locked: the kernel gives the lock back however the owner ends, so a lock says more
/// than a process number, which may be used again or mean something else in another container with the same `/tmp`.
/// It holds the owner's process number for people who look.
const OWNER: &str = "owner";

/// The file in it with the number of every process that was started, a line each.
pub(crate) const PIDS: &str = "pids";

/// A directory that is deleted when it is dropped, and by the next run if that could not be.
#[derive(Debug)]
pub(crate) struct StateDirectory {
    path: PathBuf,
    _owner: File,
}

impl StateDirectory {
    /// Creates one in the system's directory for temporary files.
    pub(crate) fn create() -> anyhow::Result<Self> {
        let parent = std::env::temp_dir();
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&parent)
            .with_context(|| format!("cannot create a directory in `{}`", parent.display()))?;
        let path = directory.path().to_owned();
        live::keep_track(&path);
        // Locked before it gets its name, or a run that starts at this moment would take it for a leftover.
        let unnamed = path.join("owner.new");
        let mut owner = File::create(&unnamed)?;
        owner.lock()?;
        write!(owner, "{}", std::process::id())?;
        fs::rename(&unnamed, path.join(OWNER))?;
        Ok(Self {
            path: directory.keep(),
            _owner: owner,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StateDirectory {
    fn drop(&mut self) {
        live::delete(&self.path);
    }
}

/// Removes the state directories whose owners are gone, with the processes that these left running.
pub(crate) fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let directory = entry.path();
        let named = entry
            .file_name()
            .to_string_lossy()
            .starts_with(PREFIX);
        if named && is_left_over(&directory) {
            sweep_directory(&directory);
        }
    }
}

/// Ends the processes that were started for `directory`, and deletes it. Its owner must be gone.
pub(crate) fn sweep_directory(directory: &Path) {
    let pids = fs::read_to_string(directory.join(PIDS)).unwrap_or_default();
    let ours = pids
        .lines()
        .filter_map(|line| Pid::from_raw(line.parse().ok()?))
        .filter(|pid| mentions(*pid, directory));
    for pid in ours {
        let _ = kill_process_group(pid, Signal::KILL);
    }
    live::remove(directory);
}

fn is_left_over(directory: &Path) -> bool {
    File::open(directory.join(OWNER)).is_ok_and(|owner| owner.try_lock().is_ok())
}

/// Whether the process with that number was started for `directory`: numbers are used again.
fn mentions(pid: Pid, directory: &Path) -> bool {
    let needle = directory.as_os_str().as_encoded_bytes();
    ["cmdline", "environ"]
        .iter()
        .any(|file| {
            let text = fs::read(format!("/proc/{}/{file}", pid.as_raw_nonzero()));
            text.is_ok_and(|text| {
                text.windows(needle.len())
                    .any(|part| part == needle)
            })
        })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_directory_in_use_is_not_left_over() {
        let state = StateDirectory::create().unwrap();
        assert!(!is_left_over(state.path()));
        let path = state.path().to_owned();
        drop(state);
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_without_its_owner_goes_with_its_processes() {
        let directory = tempfile::tempdir().unwrap().keep();
        fs::write(directory.join(OWNER), "1").unwrap();
        let start = |argument: &Path| {
            let mut command = Command::new("sh");
            command
                .args(["-c", "while :; do sleep 0.01; done"])
                .arg(argument);
            live::spawn(&mut command).unwrap()
        };
        let mut ours = start(&directory);
        let mut stranger = start(Path::new("elsewhere"));
        fs::write(
            directory.join(PIDS),
            format!("{}\n{}\n", ours.id(), stranger.id()),
        )
        .unwrap();

        assert!(is_left_over(&directory));
        sweep_directory(&directory);
        assert!(!directory.exists());
        assert!(!ours.wait().unwrap().success());
        assert!(live::is_running(&mut stranger));
        live::end(&mut stranger);
    }
}
