//! Pauses that double with each failure.

use std::time::Duration;

/// The pause after a number of failures before this one: `first`, and twice as long each time, up to
/// `longest`.
pub(crate) fn pause(failures: u32, first: Duration, longest: Duration) -> Duration {
    first
        .saturating_mul(2_u32.saturating_pow(failures))
        .min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let second = Duration::from_secs(1);
        let pauses: Vec<_> = (0..11)
            .map(|failures| pause(failures, second, 300 * second).as_secs())
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(pause(u32::MAX, second, 300 * second), 300 * second);
    }
}
