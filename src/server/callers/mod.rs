//! Authentication of callers: client certificates on the webhook port, tokens on the metrics port.

pub mod client_auth;
pub mod metrics_authorization;
