use std::time::Duration;

use jiff::{Span, SpanRelativeTo, Unit};

/// Parses a duration such as `90s`, `24h`, `30d` or `1w2d`. A day has 24 hours.
///
/// # Errors
///
/// The text is not a duration, or the duration is negative or too long.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse::<Span>()
        .and_then(|span| span.total((Unit::Second, SpanRelativeTo::days_are_24_hours())));
    seconds
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "not a duration (hint: write it as 90s, 24h or 30d)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("90s", 90),
            ("5m", 300),
            ("24h", 86_400),
            ("30d", 2_592_000),
            ("1w2d", 777_600),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "soon", "-5m", "5", "1 month"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
