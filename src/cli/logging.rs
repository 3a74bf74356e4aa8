use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// What is logged where `RUST_LOG` says nothing. The client says of each request that it failed; so do
/// we, once, and with what it was for.
const DEFAULT_FILTER: &str = "info,kube=warn,kube_runtime=error,kube_client=off";

/// What holds whatever `RUST_LOG` says: below this the client prints answers of the API server, and
/// those repeat what objects hold, a pasted credential among it.
const CAP: &str = "kube_client=info";

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// One JSON object a line
    #[default]
    Json,
    /// For people
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
