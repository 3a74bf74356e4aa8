//! Several replicas of the manager behind one address, as a Deployment and a Service would have them.

use std::{path::PathBuf, time::Duration};

use anyhow::bail;

use crate::{
    controlplane::ControlPlane,
    manager::{
        balancer::Balancer,
        running::{Manager, ManagerOptions},
    },
    wait::until,
};

/// How long a replica may take to be ready, or another one to lead.
const LIMIT: Duration = Duration::from_secs(60);

/// Replicas of the manager, and the balancer in front of them.
#[derive(Debug)]
pub struct Replicas {
    options: ManagerOptions,
    balancer: Balancer,
    running: Vec<Manager>,
    started: usize,
}

impl Replicas {
    /// Starts `count` replicas behind `port`, and waits until all of them are ready.
    ///
    /// Of `options`, the name is that of all replicas but for a number, and the port is chosen anew for each.
    ///
    /// # Errors
    ///
    /// A replica does not start, or is not ready in time.
    pub async fn start(
        control_plane: &ControlPlane,
        options: ManagerOptions,
        port: u16,
        count: usize,
    ) -> anyhow::Result<Self> {
        let mut replicas = Self {
            options,
            balancer: Balancer::start(port).await?,
            running: Vec::new(),
            started: 0,
        };
        for _ in 0..count {
            replicas.add(control_plane).await?;
        }
        Ok(replicas)
    }

    /// Where they are reached.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.balancer.port()
    }

    /// The replicas that run, the oldest first.
    pub fn running(&mut self) -> &mut [Manager] {
        &mut self.running
    }

    /// Those that are started from now on are this program.
    pub fn upgrade_to(&mut self, binary: impl Into<PathBuf>) {
        self.options.binary = binary.into();
    }

    /// Starts one more, and waits until it gets connections.
    ///
    /// # Errors
    ///
    /// It does not start, or is not ready in time.
    pub async fn add(&mut self, control_plane: &ControlPlane) -> anyhow::Result<()> {
        self.started += 1;
        let options = ManagerOptions {
            name: format!("{}-{}", self.options.name, self.started),
            webhook_port: None,
            ..self.options.clone()
        };
        let manager = Manager::start(control_plane, options).await?;
        self.balancer.add(&manager);
        until("the new replica to get connections", LIMIT, async || {
            Ok(self
                .balancer
                .serves(&manager)
                .then_some(()))
        })
        .await?;
        self.running.push(manager);
        Ok(())
    }

    /// Replaces the oldest replica as a Deployment with `maxUnavailable: 0` does: another one first, then SIGTERM.
    ///
    /// # Errors
    ///
    /// The new one is not ready in time, or the old one does not end in order.
    pub async fn roll(&mut self, control_plane: &ControlPlane) -> anyhow::Result<()> {
        self.add(control_plane).await?;
        let mut old = self.take(0)?;
        let status = old.stop().await;
        self.balancer.remove(&old);
        match status {
            Some(status) if status.success() => Ok(()),
            status => bail!(
                "a replica exited with an error ({status:?}):\n{}",
                old.log()
            ),
        }
    }

    /// Kills a replica, as a node that fails would, and starts another in its place.
    ///
    /// # Errors
    ///
    /// There is none of that index, or the new one is not ready in time.
    pub async fn replace_killed(
        &mut self,
        control_plane: &ControlPlane,
        index: usize,
    ) -> anyhow::Result<()> {
        let mut killed = self.take(index)?;
        killed.kill();
        self.balancer.remove(&killed);
        self.add(control_plane).await
    }

    /// The index of the replica that leads.
    ///
    /// # Errors
    ///
    /// None does within a minute.
    pub async fn leader(&self) -> anyhow::Result<usize> {
        until("a replica to lead", LIMIT, async || {
            for (index, manager) in self.running.iter().enumerate() {
                let metrics = manager
                    .metrics()
                    .await
                    .unwrap_or_default();
                if metrics.contains("\nagentkube_leader 1\n") {
                    return Ok(Some(index));
                }
            }
            Ok(None)
        })
        .await
    }

    /// Ends all of them in order.
    pub async fn stop(mut self) {
        for manager in &mut self.running {
            manager.stop().await;
        }
    }

    fn take(&mut self, index: usize) -> anyhow::Result<Manager> {
        if index >= self.running.len() {
            bail!("there is no replica {index}");
        }
        Ok(self.running.remove(index))
    }
}
