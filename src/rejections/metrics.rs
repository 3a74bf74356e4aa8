use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

/// The metrics of the audit trail. The default is not registered.
#[derive(Clone, Debug)]
pub struct RejectionMetrics {
    /// Denials and Rejections by event.
    pub events: Family<EventLabels, Counter>,
    /// Rejections that wait to be written.
    pub pending: Gauge,
    /// 1 while the API server accepts Rejections, else 0.
    pub writable: Gauge,
    pub(super) dropped: Counter,
    pub(super) evicted: Counter,
    pub(super) expired: Counter,
    pub(super) folded: Counter,
    pub(super) written: Counter,
}

/// The values of the label `event`.
pub const REJECTION_EVENTS: [&str; 5] = ["dropped", "evicted", "expired", "folded", "written"];

/// The label of a metric.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct EventLabels {
    /// `dropped`: a denial that could not be recorded. `evicted`, `expired`: a Rejection that was
    /// deleted. `folded`: a denial that was added to a known Rejection. `written`: a Rejection that
    /// was created or updated.
    event: &'static str,
}

impl Default for RejectionMetrics {
    fn default() -> Self {
        let events = Family::<EventLabels, Counter>::default();
        let [dropped, evicted, expired, folded, written] =
            REJECTION_EVENTS.map(|event| events.get_or_create_owned(&EventLabels { event }));
        let writable = Gauge::default();
        writable.set(1);
        Self {
            pending: Gauge::default(),
            writable,
            dropped,
            evicted,
            expired,
            folded,
            written,
            events,
        }
    }
}
