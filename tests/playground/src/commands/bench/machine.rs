//! Where something was measured.

use std::{fmt, fs, thread::available_parallelism};

use serde::Serialize;

/// What figures depend on besides the program.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Machine {
    cores: usize,
    processor: String,
    kernel: String,
    /// How busy it was in the last minute before: figures of a machine that does other things are worth little.
    load_average: f64,
    /// The manager's, and the benchmark's own.
    version: &'static str,
}

impl Machine {
    pub(super) fn now() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map(|model| {
                model
                    .trim_start_matches([':', '\t', ' '])
                    .to_owned()
            })
            .unwrap_or_default();
        let load_average = read("/proc/loadavg")
            .split(' ')
            .next()
            .and_then(|load| load.parse().ok())
            .unwrap_or_default();
        Self {
            cores: available_parallelism().map_or(0, usize::from),
            processor,
            kernel: read("/proc/sys/kernel/osrelease")
                .trim()
                .to_owned(),
            load_average,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cores,
            processor,
            kernel,
            load_average,
            version,
        } = self;
        write!(
            formatter,
            "agentkube {version} on {cores} cores ({processor}), Linux {kernel}, load average before: {load_average}"
        )
    }
}
