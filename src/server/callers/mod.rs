//! Who may call: clients' certificates on the port of the webhooks, tokens on that of the metrics.

pub mod client_auth;
pub mod metrics_authorization;
