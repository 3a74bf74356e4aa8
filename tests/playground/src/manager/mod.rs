//! agentkube on a control plane: built, installed, running, and under load.
//!
//! ```text
//! Load -> API server -> Balancer -> Manager, Manager (Replicas) -> Proxy -> API server
//! ```

mod authority;
mod balancer;
mod binary;
mod install;
mod load;
mod policies;
mod proxy;
mod replicas;
mod running;

pub use authority::webhook_authority;
pub use balancer::Balancer;
pub use binary::build_manager;
pub use install::{Installation, kustomize};
pub use load::{Calls, Failure, Load};
pub use proxy::Proxy;
pub use replicas::Replicas;
pub use running::{Manager, ManagerOptions};
