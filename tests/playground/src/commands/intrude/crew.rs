//! The replicas of the manager, each behind a proxy of its own, and what happens to them.

use std::{path::PathBuf, time::Duration};

use agentkube_playground::{Balancer, ControlPlane, Installation, Manager, ManagerOptions, Proxy};
use anyhow::Context;
use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::{Api, Client, api::DeleteParams};
use tokio::time::sleep;

use super::{
    faults::{Fault, Windows},
    judge::REGISTRY,
};

const REPLICAS: usize = 2;
/// The name of both registrations.
const REGISTRATION: &str = "agentkube-manager";
/// Longer than a Lease lasts.
const LONG: Duration = Duration::from_secs(18);
/// How long the API server may go on with the registrations that it had.
const MARGIN: SignedDuration = SignedDuration::from_secs(3);

/// The replicas, and the registrations that lead to them.
pub(super) struct Crew {
    binary: PathBuf,
    port: u16,
    balancer: Balancer,
    members: Vec<Replica>,
    installation: Installation,
    started: usize,
    windows: Windows,
}

struct Replica {
    proxy: Proxy,
    manager: Manager,
}

/// What the manager is told, beside how to reach the API server.
pub(super) fn settings() -> [(&'static str, String); 2] {
    [
        ("AGENTKUBE_ALLOWED_REGISTRIES", REGISTRY.to_owned()),
        ("AGENTKUBE_IMAGE_REGISTRY", format!("{REGISTRY}/mirror")),
    ]
}

impl Crew {
    /// Installs agentkube, and starts its replicas.
    pub(super) async fn start(
        control_plane: &ControlPlane,
        binary: PathBuf,
        port: u16,
        windows: Windows,
    ) -> anyhow::Result<Self> {
        let installation = Installation::apply(control_plane, port).await?;
        let mut crew = Self {
            binary,
            port,
            balancer: Balancer::start(port).await?,
            members: Vec::new(),
            installation,
            started: 0,
            windows,
        };
        for _ in 0..REPLICAS {
            crew.add(control_plane).await?;
        }
        crew.installation
            .until_webhooks_answer()
            .await?;
        Ok(crew)
    }

    /// Makes an end of a replica that nobody asked for an error.
    pub(super) fn expect_running(&mut self) -> anyhow::Result<()> {
        self.members
            .iter_mut()
            .try_for_each(|member| member.manager.expect_running())
    }

    /// Lets a fault happen, and returns once it is over.
    pub(super) async fn strike(
        &mut self,
        control_plane: &ControlPlane,
        fault: Fault,
        rng: &mut Rng,
    ) -> anyhow::Result<()> {
        let index = rng.usize(..self.members.len());
        let moment = Duration::from_millis(rng.u64(500..4000));
        let member = self
            .members
            .get_mut(index)
            .context("there is a replica")?;
        match fault {
            Fault::CutOff => {
                member.proxy.freeze_everything();
                sleep(moment).await;
                member.proxy.thaw();
            }
            Fault::Frozen => {
                member.manager.pause();
                sleep(moment).await;
                member.manager.resume();
            }
            Fault::Killed => {
                let mut member = self.members.remove(index);
                member.manager.kill();
                self.balancer.remove(&member.manager);
                self.add(control_plane).await?;
            }
            Fault::Lagging => {
                member.proxy.freeze_watches();
                sleep(moment).await;
                member.proxy.thaw();
            }
            Fault::LongFrozen => {
                member.manager.pause();
                sleep(LONG).await;
                member.manager.resume();
            }
            Fault::RegistrationsAway => {
                self.registrations_go_and_come(&control_plane.client(), moment)
                    .await?;
            }
        }
        Ok(())
    }

    /// Ends all of them in order.
    pub(super) async fn stop(mut self) {
        for member in &mut self.members {
            member.manager.stop().await;
        }
    }

    async fn add(&mut self, control_plane: &ControlPlane) -> anyhow::Result<()> {
        self.started += 1;
        let name = format!("agentkube-manager-{}", self.started);
        let proxy = Proxy::start(control_plane).await?;
        let kubeconfig = proxy
            .kubeconfig(control_plane, &format!("{name}-proxied"))
            .await?;
        let mut env = vec![("KUBECONFIG".to_owned(), kubeconfig)];
        env.extend(settings().map(|(name, value)| (name.to_owned(), value)));
        let options = ManagerOptions {
            name,
            env,
            ..ManagerOptions::new(&self.binary)
        };
        let manager = Manager::start(control_plane, options).await?;
        self.balancer.add(&manager);
        self.members
            .push(Replica { proxy, manager });
        Ok(())
    }

    async fn registrations_go_and_come(
        &mut self,
        client: &Client,
        moment: Duration,
    ) -> anyhow::Result<()> {
        self.windows.open(Timestamp::now());
        let now = DeleteParams::default();
        Api::<ValidatingWebhookConfiguration>::all(client.clone())
            .delete(REGISTRATION, &now)
            .await?;
        Api::<MutatingWebhookConfiguration>::all(client.clone())
            .delete(REGISTRATION, &now)
            .await?;
        sleep(moment).await;
        self.installation
            .point_webhooks_at(self.port)
            .await?;
        self.installation
            .until_webhooks_answer()
            .await?;
        self.windows
            .close(Timestamp::now().checked_add(MARGIN)?);
        Ok(())
    }
}
