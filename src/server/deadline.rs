//! The deadline of an answer, from the request's own timeout.
//!
//! The API server appends its `timeoutSeconds` to the webhook's URL as `?timeout=5s`, a Go
//! duration. An answer that comes later is thrown away, so the work stops a little before.

use std::time::Duration;

use tokio::time::Instant;

/// The time at which an answer has to be ready.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline of a request that arrived at `arrival` with this raw query string.
    ///
    /// The timeout is that of the API server, 10 s if it is missing or malformed, and at most 30 s, as
    /// in Kubernetes. A tenth of it, and at least 50 ms, is reserved for the way back.
    #[must_use]
    pub fn from_query(arrival: Instant, query: Option<&str>) -> Self {
        Self(arrival + budget(query))
    }

    /// The deadline, for `tokio::time::timeout_at`.
    #[must_use]
    pub(crate) fn instant(self) -> Instant {
        self.0
    }

    /// The remaining time; zero once it is over.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0
            .saturating_duration_since(Instant::now())
    }
}

const DEFAULT: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(30);
const LEAST_MARGIN: Duration = Duration::from_millis(50);

fn budget(query: Option<&str>) -> Duration {
    let timeout = query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .find_map(|pair| pair.strip_prefix("timeout="))
        .and_then(go_duration)
        .filter(|timeout| !timeout.is_zero())
        .unwrap_or(DEFAULT)
        .min(LONGEST);
    timeout.saturating_sub(LEAST_MARGIN.max(timeout / 10))
}

/// Parses the format of Go's `time.Duration.String`, without negative values: `1m30s`, `500ms`, `1.5s`.
fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    loop {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, after) = after.split_at(
            after
                .find(|c: char| c.is_ascii_digit() || c == '.')
                .unwrap_or(after.len()),
        );
        let (whole, fraction) = number
            .split_once('.')
            .unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let seconds = number.parse::<f64>().ok()? * seconds_in(unit)?;
        total = total.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        if after.is_empty() {
            return Some(total);
        }
        rest = after;
    }
}

fn seconds_in(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        // Both code points for micro, as Go reads them, and the first one percent-encoded.
        "us" | "µs" | "μs" | "%C2%B5s" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_go_durations() {
        for (text, milliseconds) in [
            ("5s", 5_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("10s", 10_000),
            ("1.5s", 1_500),
            (".5s", 500),
            ("1h0m0s", 3_600_000),
            ("250000us", 250),
            ("0", 0),
        ] {
            assert_eq!(
                go_duration(text),
                Some(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "5s ",
            "-5s",
            "1..5s",
            ".s",
            "5x",
            "5s5",
            "é",
            "5sé",
            "99999999999999999999h",
        ] {
            assert_eq!(go_duration(text), None, "{text}");
        }
    }

    #[test]
    fn leaves_a_margin_for_the_way_back() {
        for (query, milliseconds) in [
            (Some("timeout=5s"), 4_500),
            (Some("timeout=1s"), 900),
            (Some("timeout=200ms"), 150),
            (Some("timeout=10ms"), 0),
            (Some("a=b&timeout=10s"), 9_000),
            (Some("timeout=1h"), 27_000),
            (Some("timeout=soon"), 9_000),
            (Some("timeout=0s"), 9_000),
            (Some("timeouts=5s"), 9_000),
            (Some(""), 9_000),
            (None, 9_000),
        ] {
            assert_eq!(
                budget(query),
                Duration::from_millis(milliseconds),
                "{query:?}"
            );
        }
    }

    #[test]
    fn a_past_deadline_leaves_nothing() {
        let deadline = Deadline::from_query(Instant::now(), Some("timeout=1ms"));
        assert_eq!(deadline.remaining(), Duration::ZERO);
    }
}
