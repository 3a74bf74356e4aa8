use std::{collections::HashSet, future::Future, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::{JoinError, JoinSet},
    time::timeout,
};

use crate::server::Shutdown;

/// Deadline for the tasks that outlive the drain.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The tasks of a process. They end together: if one ends by itself, the process ends, since a manager
/// without one of its tasks would look healthy without being so.
#[derive(Default)]
pub(super) struct Tasks {
    running: JoinSet<&'static str>,
    /// The tasks that the shutdown waits for before it finishes.
    draining: HashSet<&'static str>,
}

impl Tasks {
    /// Starts a task that runs until the shutdown has finished.
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.running.spawn(async move {
            task.await;
            name
        });
    }

    /// Starts a task that ends with the drain.
    pub(super) fn spawn_drained(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.draining.insert(name);
        self.spawn(name, task);
    }

    /// Runs until SIGTERM or SIGINT, then drains and ends in order. A second signal ends at once.
    ///
    /// # Errors
    ///
    /// A task ends before the shutdown.
    pub(super) async fn run(mut self, shutdown: &Shutdown) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            Some(ended) = self.running.join_next() => bail!("{}", premature(ended)),
        }
        tracing::info!("the manager is draining");
        shutdown.drain();
        while !self.draining.is_empty() {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                Some(ended) = self.running.join_next() => match ended {
                    Ok(name) if self.draining.remove(name) => {}
                    ended => bail!("{}", premature(ended)),
                },
            }
        }
        shutdown.finish();
        let rest = async { while self.running.join_next().await.is_some() {} };
        if timeout(LAST_WORDS, rest).await.is_err() {
            tracing::warn!("the manager stops although some tasks have not ended");
        }
        tracing::info!("the manager has stopped");
        Ok(())
    }
}

fn premature(ended: Result<&'static str, JoinError>) -> String {
    match ended {
        Ok(name) => format!("the task `{name}` ended unexpectedly"),
        Err(error) => format!("a task failed: {error}"),
    }
}
