//! A real Kubernetes control plane on this machine, for the playground and the cluster tests.
//!
//! ```text
//! Binaries -> ControlPlane { etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kwok }
//!                  ^-- Installation (the shipped manifests)   Manager (the real binary) --^
//! Manifest -> apply -> Applied -> Report <- AgentReport
//! ```
//!
//! [`Binaries`] finds the programs or builds them from the Go module in `tests/controlplane`;
//! [`ControlPlane`] runs them on the loopback interface with all their state in one directory.
//! It leaves no process and no file behind when it is stopped or dropped. [`Installation`] puts agentkube
//! on it, [`Manager`] runs agentkube itself, [`apply`] applies as kubectl does and keeps the warnings, and [`Report`]
//! says what came of it.
//!
//! For tests of mirroring there are a real [`Registry`], [`SmallImage`]s to fill it with, and [`MirrorTools`] that copy
//! from one to another.
//!
//! | folder | imports |
//! |---|---|
//! | `talk`, `wait`, `loopback` | |
//! | `process` | `wait` |
//! | `golang` | `process`, `talk` |
//! | `objects` | `talk`, `wait` |
//! | `controlplane` | `golang`, `loopback`, `process`, `talk`, `wait` |
//! | `manager` | `controlplane`, `loopback`, `objects`, `process`, `wait` |
//! | `registry` | `golang`, `loopback`, `process`, `wait` |
//! | `commands` (of the program) | the library |

mod controlplane;
mod golang;
mod loopback;
mod manager;
mod objects;
mod process;
mod registry;
pub mod talk;
mod wait;

pub use crate::{
    controlplane::{Binaries, CertManager, ControlPlane, ControlPlaneOptions},
    golang::{locate_helm, monitoring_crds, report_crd},
    loopback::free_ports,
    manager::{
        Balancer, Calls, Failure, Installation, Load, Manager, ManagerOptions, Proxy, Replicas,
        build_manager, kustomize, webhook_authority,
    },
    objects::{
        AgentReport, Applied, ConditionReport, ImageReport, Manifest, Rejected, Report, Seconds,
        Warning, agents, apply, parse_manifests, read_manifests, rejections, settle,
    },
    process::{Process, Shutdown, end_everything},
    registry::{MirrorTools, Registry, SmallImage},
    wait::until,
};
