//! A child process that cannot be forgotten.

use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::process::{Signal, kill_process_group};

use crate::{
    process::{live, state},
    wait,
};

/// How many of the last lines of a log an error shows.
const TAIL: usize = 15;

/// A program that was started: in a process group of its own (the terminal's Ctrl-C does not reach it),
/// with stdout and stderr in a log file. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; its log is `NAME.log` in `directory`, appended to if it is there already.
    ///
    /// The command line or the environment has to mention `directory`, as that is how a later run tells a leftover
    /// process from a stranger who was given the same number.
    ///
    /// # Errors
    ///
    /// The program cannot be started, or its log cannot be written.
    pub fn start(name: &str, mut command: Command, directory: &Path) -> anyhow::Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let output = append(&log)?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let child = live::spawn(&mut command).with_context(|| {
            let program = command.get_program().display();
            format!("cannot start `{program}`")
        })?;
        let process = Self {
            name: name.to_owned(),
            child,
            log,
        };
        writeln!(append(&directory.join(state::PIDS))?, "{}", process.id())?;
        Ok(process)
    }

    /// What it was called at its start.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process number, which is also the number of its process group.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file with its stdout and stderr.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The last `lines` lines that it logged.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        // A log may be cut within a character.
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let skipped = log
            .lines()
            .count()
            .saturating_sub(lines);
        log.lines()
            .skip(skipped)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        live::is_running(&mut self.child)
    }

    /// How it ended, if it did.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.is_running() {
            return None;
        }
        self.child.try_wait().ok().flatten()
    }

    /// Makes an end that nobody asked for an error that shows the last lines of the log.
    ///
    /// # Errors
    ///
    /// The process has ended.
    pub fn expect_running(&mut self) -> anyhow::Result<()> {
        let Some(status) = self.exit_status() else {
            return Ok(());
        };
        bail!("`{}` ended ({status}):\n{}", self.name, self.log_tail(TAIL))
    }

    /// Asks it to end with SIGTERM, and kills it when it has not done so within `grace`.
    pub async fn stop(&mut self, grace: Duration) {
        if self.is_running()
            && let Some(group) = live::group(&self.child)
        {
            let _ = kill_process_group(group, Signal::TERM);
            let _ = wait::until("it to end", grace, async || {
                Ok((!self.is_running()).then_some(()))
            })
            .await;
        }
        self.kill();
    }

    /// Kills it, with its whole group, and waits until it is gone.
    pub fn kill(&mut self) {
        live::end(&mut self.child);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn append(path: &Path) -> anyhow::Result<std::fs::File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, directory: &Path) -> Process {
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .arg(directory);
        Process::start("shell", command, directory).unwrap()
    }

    async fn logged(process: &Process, text: &str) {
        wait::until("its log", Duration::from_secs(10), async || {
            Ok(process
                .log_tail(1)
                .contains(text)
                .then_some(()))
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn an_early_end_shows_the_last_lines() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = shell("seq 100; echo broken >&2; exit 3", directory.path());
        let error = wait::until("its end", Duration::from_secs(10), async || {
            Ok(process.expect_running().err())
        });
        let error = error.await.unwrap().to_string();
        assert!(
            error.starts_with("`shell` ended (exit status: 3):\n87\n"),
            "{error}"
        );
        assert!(error.ends_with("100\nbroken"), "{error}");
    }

    #[tokio::test]
    async fn stop_lets_it_end_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done";
        let mut process = shell(script, directory.path());
        logged(&process, "up").await;
        process
            .stop(Duration::from_secs(10))
            .await;
        assert_eq!(process.log_tail(1), "bye");
        assert!(process.exit_status().unwrap().success());
    }

    #[tokio::test]
    async fn stop_kills_what_does_not_listen() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = shell(
            "trap '' TERM; echo up; while :; do sleep 0.01; done",
            directory.path(),
        );
        logged(&process, "up").await;
        process
            .stop(Duration::from_millis(100))
            .await;
        assert!(!process.is_running());
    }
}
