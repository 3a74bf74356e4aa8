//! A real Kubernetes control plane on this machine, for the playground and the cluster tests.
//!
//! ```text
//! Binaries -> ControlPlane { etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kwok }
//!                  ^-- Installation (the shipped manifests)   Manager (the real binary) --^
//! Manifest -> apply -> Applied -> Report <- AgentReport
//! ```
//!
//! [`Binaries`] finds the programs or builds them from the Go module in `tests/controlplane`;
//! [`ControlPlane`] runs them on the loopback interface with all their state in one directory,
//! and leaves nothing running and nothing on disk when it is stopped or dropped. [`Installation`] puts agentkube
//! on it, [`Manager`] runs agentkube itself, [`apply`] is kubectl with ears, and [`Report`] says what came of it.
//!
//! For tests of mirroring there are a real [`Registry`], [`SmallImage`]s to fill it with, and [`MirrorTools`] that copy
//! from one to another.

mod agents;
mod applier;
mod apply;
mod balancer;
mod binaries;
mod certmanager;
mod controlplane;
mod credentials;
mod definitions;
mod gobuild;
mod gotools;
mod helm;
mod install;
mod live;
mod load;
mod loopback;
mod manager;
mod manager_binary;
mod manifests;
mod mirrortools;
mod nodes;
mod policies;
mod ports;
mod process;
mod proxy;
mod registry;
mod rejections;
mod replicas;
mod report;
mod restartable;
mod signals;
mod small_image;
mod state;
pub mod talk;
mod versions;
mod wait;

pub use crate::{
    agents::{AgentReport, ConditionReport, ImageReport, agents, settle},
    apply::{Applied, Rejected, Warning, apply},
    balancer::Balancer,
    binaries::Binaries,
    certmanager::CertManager,
    controlplane::{ControlPlane, ControlPlaneOptions},
    definitions::{monitoring_crds, report_crd},
    helm::locate_helm,
    install::{Installation, kustomize},
    live::end_everything,
    load::{Calls, Failure, Load},
    manager::{Manager, ManagerOptions},
    manager_binary::build_manager,
    manifests::{Manifest, parse as parse_manifests, read_manifests},
    mirrortools::MirrorTools,
    ports::free_ports,
    process::Process,
    proxy::Proxy,
    registry::Registry,
    rejections::rejections,
    replicas::Replicas,
    report::{Report, Seconds},
    signals::Shutdown,
    small_image::SmallImage,
    wait::until,
};
