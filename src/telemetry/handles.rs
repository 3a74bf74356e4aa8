use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};

use super::{ConnectionMetrics, problems::Problems};
use crate::{admission::Webhook, rejections::RejectionMetrics, watch::UnreadableObjects};

/// All registered metrics, one per row of [`METRICS`](super::METRICS).
#[derive(Clone, Debug)]
pub(super) struct Handles {
    pub(super) version: &'static str,
    pub(super) certificate_expiry: Gauge,
    pub(super) connections: ConnectionMetrics,
    pub(super) image_decisions: Family<ImageDecisionLabels, Counter>,
    pub(super) leader: Gauge,
    pub(super) problems: Problems,
    pub(super) rejections: RejectionMetrics,
    pub(super) review_durations: ReviewDurations,
    pub(super) reviews: Family<ReviewLabels, Counter>,
    pub(super) reviews_in_flight: Gauge,
    pub(super) reviews_shed: Counter,
    pub(super) reviews_undecided: Counter,
    pub(super) unreadable: UnreadableObjects,
}

impl Handles {
    pub(super) fn new(version: &'static str) -> Self {
        Self {
            version,
            certificate_expiry: Gauge::default(),
            connections: ConnectionMetrics::default(),
            image_decisions: Family::default(),
            leader: Gauge::default(),
            problems: Problems::default(),
            rejections: RejectionMetrics::default(),
            review_durations: ReviewDurations::new(),
            reviews: Family::default(),
            reviews_in_flight: Gauge::default(),
            reviews_shed: Counter::default(),
            reviews_undecided: Counter::default(),
            unreadable: UnreadableObjects::default(),
        }
    }
}

/// A histogram for each webhook, found without a lock.
#[derive(Clone, Debug)]
pub(super) struct ReviewDurations {
    pub(super) family: Family<DurationLabels, Histogram>,
    of: [(Webhook, Histogram); Webhook::ALL.len()],
}

impl ReviewDurations {
    fn new() -> Self {
        let family = Family::<DurationLabels, Histogram>::new_with_constructor(review_histogram);
        let of = Webhook::ALL.map(|webhook| {
            let labels = DurationLabels {
                webhook: webhook.as_str(),
            };
            (webhook, family.get_or_create_owned(&labels))
        });
        Self { family, of }
    }

    pub(super) fn observe(&self, webhook: Webhook, duration: Duration) {
        for (of, histogram) in &self.of {
            if *of == webhook {
                histogram.observe(duration.as_secs_f64());
            }
        }
    }
}

/// The labels of `agentkube_reviews_total`.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ReviewLabels {
    /// [`Webhook::as_str`].
    pub webhook: &'static str,
    /// `Agent`, `Tool`, `Pod`, `none` if nothing is judged, or `other`.
    pub kind: &'static str,
    /// `CREATE`, `UPDATE`, or `other`.
    pub operation: &'static str,
    /// `allow`, `conflict`, `warn` or `deny`.
    pub decision: &'static str,
    /// The first cause's reason; empty if there is none.
    pub reason: &'static str,
}

/// The labels of `agentkube_image_decisions_total`.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ImageDecisionLabels {
    /// The row of the matrix.
    pub component: &'static str,
    /// The rule that chose: `resource`, `override`, `mirror`, `default`.
    pub source: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct BuildLabels {
    pub(super) version: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct DurationLabels {
    webhook: &'static str,
}

/// Buckets from 50 µs, a usual answer, to 1 s, which is far beyond the alert.
fn review_histogram() -> Histogram {
    Histogram::new([
        0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
        0.5, 1.0,
    ])
}
