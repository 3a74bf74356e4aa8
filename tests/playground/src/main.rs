//! `cargo playground`: a real Kubernetes control plane on this machine, until Ctrl-C.

use std::process::ExitCode;

use agentkube_playground::{Binaries, ControlPlane, ControlPlaneOptions, Shutdown, talk};
use anyhow::Context;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            talk::say(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let shutdown = Shutdown::listen().context("cannot listen for Ctrl-C")?;
    // A start that is interrupted is dropped half-way, and cleans up after itself.
    let control_plane = tokio::select! {
        started = start() => started?,
        () = shutdown.asked() => return Ok(()),
    };
    talk::say(format!(
        "export KUBECONFIG={}",
        control_plane
            .admin_kubeconfig()
            .display()
    ));
    shutdown.asked().await;
    control_plane.stop().await;
    Ok(())
}

async fn start() -> anyhow::Result<ControlPlane> {
    let binaries = Binaries::locate().await?;
    ControlPlane::start(&binaries, ControlPlaneOptions::default()).await
}
