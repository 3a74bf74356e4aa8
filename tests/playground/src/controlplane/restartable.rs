//! A program that can be taken away for a while and put back as it was.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tokio::sync::Mutex;

use crate::process::Process;

/// What remains of a process when it ends: how to start it again.
pub(crate) struct Restartable {
    name: &'static str,
    directory: PathBuf,
    command: Box<dyn Fn() -> Command + Send + Sync>,
    process: Mutex<Process>,
}

impl Restartable {
    /// Starts what `command` makes, and keeps that for later.
    pub(crate) fn start(
        name: &'static str,
        directory: &Path,
        command: impl Fn() -> Command + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            name,
            directory: directory.to_owned(),
            process: Mutex::new(Process::start(name, command(), directory)?),
            command: Box::new(command),
        })
    }

    /// See [`Process::stop`].
    pub(crate) async fn stop(&self, grace: Duration) {
        self.process
            .lock()
            .await
            .stop(grace)
            .await;
    }

    /// Starts it anew, with the arguments and the files that it had.
    pub(crate) async fn start_again(&self) -> anyhow::Result<()> {
        let mut process = self.process.lock().await;
        process.kill();
        *process = Process::start(self.name, (self.command)(), &self.directory)?;
        Ok(())
    }

    /// See [`Process::expect_running`].
    pub(crate) async fn expect_running(&self) -> anyhow::Result<()> {
        self.process
            .lock()
            .await
            .expect_running()
    }
}

/// The command is a closure, which has nothing to show.
impl std::fmt::Debug for Restartable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Restartable")
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}
