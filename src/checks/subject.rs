use std::path::PathBuf;

use kube::api::ListParams;

use crate::api::MANAGER;

/// The installation that is looked at
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    /// The manager's namespace
    pub namespace: String,
    /// The names that the certificate has to carry
    pub names: Vec<String>,
    /// Where somebody else puts the certificate; `None` if the manager makes its own
    pub tls_dir: Option<PathBuf>,
    /// Whether authors' rights are asked for
    pub authorizes_references: bool,
    /// Whether readers of the metrics are asked for their rights
    pub authorizes_metrics: bool,
}

impl Installation {
    /// The user that a manager of this installation is
    pub(super) fn account(&self) -> String {
        format!("system:serviceaccount:{}:{MANAGER}", self.namespace)
    }
}

/// Finds what the manifests give the name of a manager.
pub(super) fn managers() -> ListParams {
    ListParams::default().labels(&format!("app.kubernetes.io/name={MANAGER}"))
}
