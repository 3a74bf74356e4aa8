//! Figures out of samples: quantiles of latencies, and what rounds agree on.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// What several rounds measured: the median, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    #[serde(serialize_with = "rounded")]
    pub(super) median: f64,
    #[serde(serialize_with = "rounded")]
    pub(super) min: f64,
    #[serde(serialize_with = "rounded")]
    pub(super) max: f64,
    /// How many rounds there are; fewer than were run if some gave no figure.
    pub(super) rounds: usize,
}

impl Spread {
    /// Of the figures of all rounds; those that are no number are left out. `None` without any.
    pub(super) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<_> = figures
            .into_iter()
            .filter(|figure| figure.is_finite())
            .collect();
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let upper = *figures.get(figures.len() / 2)?;
        let lower = *figures.get((figures.len() - 1) / 2)?;
        Some(Self {
            median: f64::midpoint(lower, upper),
            min,
            max,
            rounds: figures.len(),
        })
    }
}

/// A figure of one round, and what it is called.
pub(super) type Metric<T> = (&'static str, fn(&T) -> f64);

/// Latencies, sorted.
#[derive(Debug, Default)]
pub(super) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(super) fn new(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        Self(latencies)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The latency, in milliseconds, that this share of all per mille stays within.
    pub(super) fn per_mille(&self, per_mille: usize) -> f64 {
        let rank = (self.0.len() * per_mille).div_ceil(1000);
        self.0
            .get(rank.saturating_sub(1))
            .map_or(f64::NAN, |latency| milliseconds(*latency))
    }
}

pub(super) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// A count as a factor.
#[expect(
    clippy::cast_precision_loss,
    reason = "nothing here is counted beyond 2^53"
)]
pub(super) fn float(count: impl TryInto<u64>) -> f64 {
    count
        .try_into()
        .map_or(f64::NAN, |count: u64| count as f64)
}

/// To four digits, as nothing that is measured here deserves more; whole beyond that.
pub(super) fn round(figure: f64) -> f64 {
    if figure == 0.0 || !figure.is_finite() {
        return figure;
    }
    let factor = 10_f64
        .powf(3.0 - figure.abs().log10().floor())
        .max(1.0);
    (figure * factor).round() / factor
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn rounded<S: Serializer>(figure: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(round(*figure))
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these are exact")]
mod tests {
    use super::*;

    #[test]
    fn rounds_agree_on_their_median() {
        let spread = Spread::of([3.0, f64::NAN, 1.0, 10.0]).unwrap();
        assert_eq!(
            (spread.median, spread.min, spread.max, spread.rounds),
            (3.0, 1.0, 10.0, 3)
        );
        assert_eq!(Spread::of([1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Spread::of([f64::INFINITY]), None);
    }

    #[test]
    fn a_quantile_is_a_latency_that_was_seen() {
        let latencies = Latencies::new(
            (1..=1000)
                .rev()
                .map(Duration::from_millis)
                .collect(),
        );
        assert_eq!(latencies.per_mille(500), 500.0);
        assert_eq!(latencies.per_mille(999), 999.0);
        let one = Latencies::new(vec![Duration::from_millis(7)]);
        assert_eq!(one.per_mille(500), 7.0);
        assert!(
            Latencies::default()
                .per_mille(500)
                .is_nan()
        );
    }

    #[test]
    fn figures_have_four_digits() {
        assert_eq!(round(0.123_456), 0.123_5);
        assert_eq!(round(12.345_6), 12.35);
        assert_eq!(round(123_456.7), 123_457.0);
    }
}
