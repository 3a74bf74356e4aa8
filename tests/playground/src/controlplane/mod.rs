//! A control plane: its programs, its files and its processes.
//!
//! ```text
//! Binaries (found, or built from tests/controlplane) -+
//! Credentials (keys, tokens, kubeconfig files) -------+-> commands -> ControlPlane -> nodes
//! ControlPlaneOptions --------------------------------+
//! ```

mod binaries;
mod build;
mod certmanager;
mod commands;
mod credentials;
mod nodes;
mod options;
mod parts;
mod restartable;
mod running;
mod versions;

pub use binaries::Binaries;
pub use certmanager::CertManager;
pub use options::ControlPlaneOptions;
pub use running::ControlPlane;
