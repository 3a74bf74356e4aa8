use std::path::PathBuf;

use kube::api::ListParams;

use crate::api::MANAGER;

/// The installation to check.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    /// The manager's namespace.
    pub namespace: String,
    /// The names that the certificate must carry.
    pub names: Vec<String>,
    /// The directory of a certificate issued elsewhere; `None` if the manager issues its own.
    pub tls_dir: Option<PathBuf>,
    /// True if the rights of authors are checked.
    pub authorizes_references: bool,
    /// True if readers of the metrics are authorized.
    pub authorizes_metrics: bool,
}

impl Installation {
    /// The user name of the manager's ServiceAccount.
    pub(super) fn account(&self) -> String {
        format!("system:serviceaccount:{}:{MANAGER}", self.namespace)
    }
}

/// Selects the objects that the manifests label as a manager.
pub(super) fn managers() -> ListParams {
    ListParams::default().labels(&format!("app.kubernetes.io/name={MANAGER}"))
}
