use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// The filter if `RUST_LOG` is not set. kube's client logs every failed request; we log each failure
/// once, with its purpose.
const DEFAULT_FILTER: &str = "info,kube=warn,kube_runtime=error,kube_client=off";

/// Overrides `RUST_LOG`: below this level kube's client prints answers of the API server, which repeat
/// the content of objects, including credentials pasted into them.
const CAP: &str = "kube_client=info";

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// One JSON object per line
    #[default]
    Json,
    /// Human-readable
    Text,
}

/// Starts logging to stderr.
pub(super) fn start(format: LogFormat) {
    let filter = match (EnvFilter::try_from_default_env(), CAP.parse()) {
        (Ok(filter), Ok(cap)) => filter.add_directive(cap),
        _ => EnvFilter::new(DEFAULT_FILTER),
    };
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Json => registry
            .with(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_current_span(false)
                    .with_writer(io::stderr),
            )
            .init(),
        LogFormat::Text => registry
            .with(
                fmt::layer()
                    .with_ansi(io::stderr().is_terminal())
                    .with_writer(io::stderr),
            )
            .init(),
    }
}
