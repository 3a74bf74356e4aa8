//! A real Kubernetes control plane on this machine, for the playground and the cluster tests.
//!
//! ```text
//! Binaries -> ControlPlane { etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kwok }
//! ```
//!
//! [`Binaries`] finds the programs or builds them from the Go module in `tests/controlplane`;
//! [`ControlPlane`] runs them on the loopback interface with all their state in one directory,
//! and leaves nothing running and nothing on disk when it is stopped or dropped.

mod binaries;
mod controlplane;
mod credentials;
mod gobuild;
mod live;
mod nodes;
mod ports;
mod process;
mod signals;
mod state;
pub mod talk;
mod wait;

pub use crate::{
    binaries::Binaries,
    controlplane::{ControlPlane, ControlPlaneOptions},
    live::end_everything,
    ports::free_ports,
    process::Process,
    signals::Shutdown,
    wait::until,
};
