//! The command line of each program of a control plane.

use std::{path::Path, process::Command};

use crate::controlplane::{
    binaries::Binaries, credentials::Credentials, options::ControlPlaneOptions,
};

/// A program with an environment of its own: etcd and KWOK would take settings from variables and from files
/// in the home directory.
fn program(path: &Path, directory: &Path) -> Command {
    let mut command = Command::new(path);
    command
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("HOME", directory)
        .env("TMPDIR", directory);
    command
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

pub(crate) fn etcd(etcd: &Path, directory: &Path, url: &str, peer_port: u16) -> Command {
    let mut command = program(etcd, directory);
    command
        .arg(flag("data-dir", &directory.join("etcd")))
        .arg(format!("--listen-client-urls={url}"))
        .arg(format!("--advertise-client-urls={url}"))
        .arg(format!("--listen-peer-urls=http://127.0.0.1:{peer_port}"))
        // The data need not survive the machine.
        .arg("--unsafe-no-fsync");
    command
}

pub(crate) fn apiserver(
    binaries: &Binaries,
    directory: &Path,
    credentials: &Credentials,
    etcd_url: &str,
    port: u16,
    options: &ControlPlaneOptions,
) -> Command {
    let mut command = program(&binaries.kube_apiserver, directory);
    command
        .arg(format!("--etcd-servers={etcd_url}"))
        .arg("--bind-address=127.0.0.1")
        .arg(format!("--secure-port={port}"))
        .arg(flag("tls-cert-file", &credentials.certificate))
        .arg(flag("tls-private-key-file", &credentials.key))
        .arg(flag("token-auth-file", &credentials.tokens))
        .arg("--authorization-mode=RBAC")
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .arg(flag(
            "service-account-signing-key-file",
            &credentials.account_key,
        ))
        .arg(flag(
            "service-account-key-file",
            &credentials.account_public_key,
        ))
        .arg("--service-cluster-ip-range=10.0.0.0/16")
        // Endpoints on the loopback interface are refused, so the Service `kubernetes` has none.
        .arg("--endpoint-reconciler-type=none")
        .arg("--allow-privileged=true")
        // Image volumes, which older versions have behind a gate.
        .arg("--feature-gates=ImageVolume=true")
        .args(&options.extra_apiserver_args);
    command
}

pub(crate) fn controller_manager(
    binaries: &Binaries,
    directory: &Path,
    credentials: &Credentials,
) -> Command {
    let mut command = program(&binaries.kube_controller_manager, directory);
    command
        .arg(flag("kubeconfig", &credentials.controller_manager))
        .arg(flag(
            "service-account-private-key-file",
            &credentials.account_key,
        ))
        .arg(flag("root-ca-file", &credentials.ca))
        .arg("--controllers=*,-node-ipam-controller")
        .arg("--leader-elect=false")
        // Tests create and delete by the dozen: the default of 20 requests a second would have them wait.
        .args(["--kube-api-qps=200", "--kube-api-burst=400"])
        // Serves nothing that anybody asks for, and two control planes would fight over its port.
        .arg("--secure-port=0");
    command
}

pub(crate) fn scheduler(
    binaries: &Binaries,
    directory: &Path,
    credentials: &Credentials,
) -> Command {
    let mut command = program(&binaries.kube_scheduler, directory);
    command
        .arg(flag("kubeconfig", &credentials.scheduler))
        .arg("--leader-elect=false")
        .args(["--kube-api-qps=200", "--kube-api-burst=400"])
        .arg("--secure-port=0");
    command
}

pub(crate) fn kwok(binaries: &Binaries, directory: &Path, credentials: &Credentials) -> Command {
    let mut command = program(&binaries.kwok, directory);
    command
        .arg(flag("kubeconfig", &credentials.kwok))
        .arg(flag("config", &binaries.stages))
        .arg("--manage-all-nodes=true")
        // Or nodes are taken for lost: their status is renewed more rarely than the controller manager expects.
        .arg("--node-lease-duration-seconds=40")
        .arg("--cidr=10.244.0.1/16");
    command
}
