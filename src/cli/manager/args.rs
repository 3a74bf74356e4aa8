//! The options of `agentkube manager`.

use std::{iter, net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    admission::{SETTINGS, SettingValue},
    api::{MANAGER, MANAGER_NAMESPACE},
    cli::{duration, logging::LogFormat},
};

/// Serve the webhooks and run the reconciler, in a cluster.
#[derive(clap::Args, Debug)]
#[command(after_help = after_help())]
pub(in crate::cli) struct Args {
    /// Say what would keep a manager with these settings from working, a line each, and start nothing
    #[arg(long)]
    pub(super) check: bool,
    /// How often a running manager looks for the same
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration::parse)]
    pub(super) check_interval: Duration,
    /// Where the webhooks are served, over TLS
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:9443")]
    pub(super) webhook_address: SocketAddr,
    /// Where metrics are served
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:8080")]
    pub(super) metrics_address: SocketAddr,
    /// Where liveness and readiness are served
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:8081")]
    pub(super) probe_address: SocketAddr,
    /// The manager's own namespace
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "POD_NAMESPACE",
        default_value = MANAGER_NAMESPACE
    )]
    pub(super) namespace: String,
    /// The name of this replica in Events and, with a random part behind it, in the leader's Lease
    #[arg(
        long,
        value_name = "NAME",
        env = "POD_NAME",
        hide_env_values = true,
        default_value = MANAGER
    )]
    pub(super) identity: String,
    /// A further DNS name or IP address for the certificate that the manager makes itself
    #[arg(long, value_name = "NAME")]
    pub(super) serving_name: Vec<String>,
    /// Serve tls.crt and tls.key of this directory, and make no certificate
    #[arg(long, value_name = "DIR")]
    pub(super) tls_dir: Option<PathBuf>,
    /// How long a certificate lives that the manager makes itself; it is renewed at two thirds of it
    #[arg(long, value_name = "TIME", default_value = "365d", value_parser = duration::parse)]
    pub(super) certificate_lifetime: Duration,
    /// The same for the certificate authority that the manager makes itself
    #[arg(long, value_name = "TIME", default_value = "3650d", value_parser = duration::parse)]
    pub(super) authority_lifetime: Duration,
    /// Answer only clients of the webhook port that show a certificate of the authorities in this file
    #[arg(long, value_name = "FILE")]
    pub(super) client_ca: Option<PathBuf>,
    /// A name that such a certificate has to carry, as its common name or a DNS name; any if not given
    #[arg(long, value_name = "NAME", requires = "client_ca")]
    pub(super) client_name: Vec<String>,
    /// Serve metrics over TLS, to bearers of a token whose user may get the path /metrics
    #[arg(long)]
    pub(super) metrics_authorization: bool,
    /// How long requests are still answered after SIGTERM, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(super) drain_delay: u64,
    /// How many Rejections a namespace keeps; beyond that the oldest go
    #[arg(long, value_name = "NUMBER", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(super) rejections_per_namespace: u16,
    /// How long after it was last seen a Rejection is kept, such as 12h or 30d
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = duration::parse)]
    pub(super) rejections_max_age: Duration,
    /// How log lines are written; what is logged is set by `RUST_LOG`
    #[arg(long, value_enum, default_value_t)]
    pub(super) log_format: LogFormat,
}

/// The help below the options: the settings, of which [`SETTINGS`] is the list.
fn after_help() -> String {
    let one_image = (
        "AGENTKUBE_IMAGE_<ROW>",
        "one image, cluster-wide".to_owned(),
    );
    let settings = SETTINGS.iter().map(|setting| {
        let help = match setting.value {
            SettingValue::List => format!("{}: a comma list", setting.help),
            SettingValue::Text => setting.help.to_owned(),
            SettingValue::Switch | SettingValue::Word(_) => {
                format!("{}: {}", setting.help, setting.value.words().join(", "))
            }
        };
        (setting.name, help)
    });
    let lines: Vec<_> = iter::once(one_image)
        .chain(settings)
        .collect();
    let width = lines
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or_default();
    let lines: Vec<_> = lines
        .iter()
        .map(|(name, help)| format!("  {name:width$}  {help}"))
        .collect();
    format!(
        "\
Settings are environment variables, see the README:
{}

Exit status of --check: 0 if a manager would work, 1 if something keeps it from working.

Examples:
  AGENTKUBE_IMAGE_REGISTRY=registry.example.com/mirror agentkube manager
  agentkube manager --check",
        lines.join("\n")
    )
}
