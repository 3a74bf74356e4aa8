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
    /// Check the settings and the cluster, print one line per finding, and exit without starting
    #[arg(long)]
    pub(super) check: bool,
    /// Interval at which a running manager repeats these checks
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration::parse)]
    pub(super) check_interval: Duration,
    /// Address of the webhooks, over TLS
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:9443")]
    pub(super) webhook_address: SocketAddr,
    /// Address of the metrics
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:8080")]
    pub(super) metrics_address: SocketAddr,
    /// Address of the liveness and readiness probes
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
    /// The name of this replica in Events and, with a random suffix, in the leader's Lease
    #[arg(
        long,
        value_name = "NAME",
        env = "POD_NAME",
        hide_env_values = true,
        default_value = MANAGER
    )]
    pub(super) identity: String,
    /// A further DNS name or IP address for the certificate that the manager issues itself (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(super) serving_name: Vec<String>,
    /// Serve tls.crt and tls.key of this directory instead of issuing a certificate
    #[arg(long, value_name = "DIR")]
    pub(super) tls_dir: Option<PathBuf>,
    /// Lifetime of a certificate that the manager issues itself; it is renewed after two thirds of it
    #[arg(long, value_name = "TIME", default_value = "365d", value_parser = duration::parse)]
    pub(super) certificate_lifetime: Duration,
    /// Lifetime of the certificate authority that the manager creates itself; renewed in the same way
    #[arg(long, value_name = "TIME", default_value = "3650d", value_parser = duration::parse)]
    pub(super) authority_lifetime: Duration,
    /// Require clients of the webhook port to present a certificate issued by an authority in this file
    #[arg(long, value_name = "FILE")]
    pub(super) client_ca: Option<PathBuf>,
    /// A name that this certificate must carry, as common name or DNS name (repeatable; default: any)
    #[arg(long, value_name = "NAME", requires = "client_ca")]
    pub(super) client_name: Vec<String>,
    /// Serve metrics over TLS, and only to bearer tokens whose user may get the path /metrics
    #[arg(long)]
    pub(super) metrics_authorization: bool,
    /// Seconds for which requests are still answered after SIGTERM
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(super) drain_delay: u64,
    /// Most Rejections kept per namespace; beyond that the oldest are deleted
    #[arg(long, value_name = "NUMBER", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(super) rejections_per_namespace: u16,
    /// Time for which a Rejection is kept after its last occurrence, such as 12h or 30d
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = duration::parse)]
    pub(super) rejections_max_age: Duration,
    /// Log format; `RUST_LOG` sets what is logged
    #[arg(long, value_enum, default_value_t)]
    pub(super) log_format: LogFormat,
}

/// The help below the options, with every setting of [`SETTINGS`].
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

Exit status of --check: 0 no errors, 1 an error that keeps a manager from working

Examples:
  AGENTKUBE_IMAGE_REGISTRY=registry.example.com/mirror agentkube manager
  agentkube manager --check",
        lines.join("\n")
    )
}
