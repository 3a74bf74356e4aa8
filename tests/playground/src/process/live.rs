//! What is alive: the process groups and directories that must not outlive this program.
//!
//! Their owners end them in `Drop`. This list is for the ends that run no destructors: a second Ctrl-C, and
//! `std::process::exit`. Nothing here helps when this program itself is killed with SIGKILL: asking the kernel
//! to end the children then (`PR_SET_PDEATHSIG`) has to happen between fork and exec, which is `unsafe`. The
//! next start sweeps up instead, see [`crate::process::state`].

use std::{
    io,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::sleep,
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpid};

/// Ends every process group and deletes every directory that is still alive, at once.
///
/// For the moments when destructors will not run: call it right before the program ends.
pub fn end_everything() {
    lock().end();
}

/// [`end_everything`], and the end of this program with the exit status that shells give to Ctrl-C.
#[expect(clippy::exit, reason = "the second Ctrl-C asks for just that")]
pub(crate) fn end_everything_and_exit() -> ! {
    // Locked for good, so that no other thread can start anything any more.
    let mut live = lock();
    live.end();
    std::process::exit(130)
}

/// Starts a process in a group of its own and notes it, as one step.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    use std::os::unix::process::CommandExt;

    let mut live = lock();
    let child = command.process_group(0).spawn()?;
    live.groups.extend(group(&child));
    Ok(child)
}

/// Whether the process has not ended yet; one that has is taken off the list before its number can be reused.
pub(crate) fn is_running(child: &mut Child) -> bool {
    let mut live = lock();
    let running = matches!(child.try_wait(), Ok(None));
    if !running && let Some(group) = group(child) {
        live.groups
            .retain(|other| *other != group);
    }
    running
}

/// Kills the group of the process and waits until the process is gone.
pub(crate) fn end(child: &mut Child) {
    if !is_running(child) {
        return;
    }
    if let Some(group) = group(child) {
        kill(group);
    }
    let _ = child.wait();
    is_running(child);
}

/// The process group of a child that was started here: it is its leader.
pub(crate) fn group(child: &Child) -> Option<Pid> {
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
}

/// Notes a directory that has to go.
pub(crate) fn keep_track(directory: &Path) {
    lock()
        .directories
        .push(directory.to_owned());
}

/// Deletes a directory and takes it off the list.
pub(crate) fn delete(directory: &Path) {
    remove(directory);
    lock()
        .directories
        .retain(|other| other != directory);
}

/// Deletes a directory, though a process that is just ending may still add a file to it.
pub(crate) fn remove(directory: &Path) {
    for _ in 0..50 {
        match std::fs::remove_dir_all(directory) {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(_) => sleep(Duration::from_millis(10)),
        }
    }
}

struct Live {
    groups: Vec<Pid>,
    directories: Vec<PathBuf>,
}

impl Live {
    fn end(&mut self) {
        for group in &self.groups {
            kill(*group);
        }
        for group in self.groups.drain(..) {
            // Reaped, so that nothing writes into the directories any more. Its owner may have been faster.
            let _ = waitpid(Some(group), WaitOptions::empty());
        }
        for directory in self.directories.drain(..) {
            remove(&directory);
        }
    }
}

static LIVE: Mutex<Live> = Mutex::new(Live {
    groups: Vec::new(),
    directories: Vec::new(),
});

/// A panic elsewhere must not keep us from cleaning up: the list is right after every step.
fn lock() -> MutexGuard<'static, Live> {
    LIVE.lock()
        .unwrap_or_else(PoisonError::into_inner)
}

fn kill(group: Pid) {
    // A group that is gone already is what we want.
    let _ = kill_process_group(group, Signal::KILL);
}
