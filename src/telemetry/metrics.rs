//! What is counted, and `/metrics`, which tells it in the `OpenMetrics` format.
//!
//! Labels come from closed sets of static words only: never from an object's name or from an image,
//! or the number of series would grow with the cluster.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};
use jiff::Timestamp;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use super::{
    client_auth::Refusals,
    problems::{Check, Problem, Problems},
};
use crate::{admission::Webhook, audit::RejectionMetrics, watch::UnreadableObjects};

/// Handles to everything that this process counts; clones are cheap and count the same
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    certificate_expiry: Gauge,
    connections: ConnectionMetrics,
    image_decisions: Family<ImageDecisionLabels, Counter>,
    leader: Gauge,
    mutate_seconds: Histogram,
    problems: Problems,
    rejections: RejectionMetrics,
    reviews: Family<ReviewLabels, Counter>,
    reviews_in_flight: Gauge,
    reviews_shed: Counter,
    reviews_undecided: Counter,
    rewrite_defaults_seconds: Histogram,
    unreadable: UnreadableObjects,
    validate_seconds: Histogram,
}

impl Metrics {
    /// Registers everything, for a build of this version
    #[must_use]
    pub fn new(version: &'static str) -> Self {
        let durations = Family::<DurationLabels, Histogram>::new_with_constructor(review_histogram);
        let metrics = Self {
            registry: Arc::default(),
            certificate_expiry: Gauge::default(),
            connections: ConnectionMetrics::default(),
            image_decisions: Family::default(),
            leader: Gauge::default(),
            mutate_seconds: durations.get_or_create_owned(&DurationLabels {
                webhook: Webhook::Mutate.as_str(),
            }),
            problems: Problems::default(),
            rejections: RejectionMetrics::default(),
            reviews: Family::default(),
            reviews_in_flight: Gauge::default(),
            reviews_shed: Counter::default(),
            reviews_undecided: Counter::default(),
            rewrite_defaults_seconds: durations.get_or_create_owned(&DurationLabels {
                webhook: Webhook::RewriteDefaults.as_str(),
            }),
            unreadable: UnreadableObjects::default(),
            validate_seconds: durations.get_or_create_owned(&DurationLabels {
                webhook: Webhook::Validate.as_str(),
            }),
        };
        let mut registry = Registry::with_prefix("agentkube");
        // The encoder appends `_total` to counters and `_info` to infos.
        registry.register(
            "build",
            "The build that runs",
            Info::new(BuildLabels { version }),
        );
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When the serving certificate expires, in seconds since 1970, 0 while there is none",
            metrics.certificate_expiry.clone(),
        );
        register_connections(&mut registry, &metrics.connections);
        registry.register(
            "image_decisions",
            "Images chosen for containers, by row of the matrix and by the rule that chose",
            metrics.image_decisions.clone(),
        );
        registry.register(
            "leader",
            "1 if this replica leads, else 0",
            metrics.leader.clone(),
        );
        metrics.problems.register(&mut registry);
        metrics
            .unreadable
            .register(&mut registry);
        register_rejections(&mut registry, &metrics.rejections);
        registry.register(
            "review_duration_seconds",
            "Time from a whole body to its answer",
            durations,
        );
        registry.register("reviews", "Reviews answered", metrics.reviews.clone());
        registry.register(
            "reviews_in_flight",
            "Reviews being answered",
            metrics.reviews_in_flight.clone(),
        );
        registry.register(
            "reviews_shed",
            "Reviews refused because too many were in flight",
            metrics.reviews_shed.clone(),
        );
        registry.register(
            "reviews_undecided",
            "Reviews answered with 503 because what they depend on could not be read in time",
            metrics.reviews_undecided.clone(),
        );
        Self {
            registry: Arc::new(registry),
            ..metrics
        }
    }

    /// Counts one answered review
    pub fn review(&self, labels: &ReviewLabels) {
        self.reviews
            .get_or_create_owned(labels)
            .inc();
    }

    /// Records how long the answer to a review took
    pub fn review_duration(&self, webhook: Webhook, duration: Duration) {
        let histogram = match webhook {
            Webhook::Mutate => &self.mutate_seconds,
            Webhook::RewriteDefaults => &self.rewrite_defaults_seconds,
            Webhook::Validate => &self.validate_seconds,
        };
        histogram.observe(duration.as_secs_f64());
    }

    /// Counts a review as in flight until the guard is dropped
    #[must_use]
    pub fn review_in_flight(&self) -> Up {
        Up::new(&self.reviews_in_flight)
    }

    /// Counts one review that was refused because too many were in flight
    pub fn review_shed(&self) {
        self.reviews_shed.inc();
    }

    /// Counts one review that could not be decided, and may be tried again
    pub fn review_undecided(&self) {
        self.reviews_undecided.inc();
    }

    /// Counts one image chosen for a container
    pub fn image_decision(&self, labels: &ImageDecisionLabels) {
        self.image_decisions
            .get_or_create_owned(labels)
            .inc();
    }

    /// Says whether this replica leads
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// A handle for one who looks for this problem
    #[must_use]
    pub fn problem(&self, check: Check) -> Problem {
        self.problems.one(check)
    }

    /// Where objects that cannot be read are counted
    #[must_use]
    pub fn unreadable(&self) -> UnreadableObjects {
        self.unreadable.clone()
    }

    /// The handles of the audit trail
    #[must_use]
    pub fn rejections(&self) -> RejectionMetrics {
        self.rejections.clone()
    }

    /// The handles of the webhook's listener
    #[must_use]
    pub fn connections(&self) -> ConnectionMetrics {
        self.connections.clone()
    }

    /// The gauge that a [`ServingCertificate`](crate::server::ServingCertificate) keeps
    #[must_use]
    pub fn certificate_expiry(&self) -> CertificateExpiry {
        CertificateExpiry(self.certificate_expiry.clone())
    }

    /// `/metrics`
    pub fn router(&self) -> Router {
        Router::new()
            .route("/metrics", get(encode))
            .with_state(self.registry.clone())
    }
}

/// What is told apart among answered reviews
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ReviewLabels {
    /// [`Webhook::as_str`]
    pub webhook: &'static str,
    /// `Agent`, `Tool`, `Pod`, `none` where nothing is judged, or `other`
    pub kind: &'static str,
    /// `CREATE`, `UPDATE`, or `other`
    pub operation: &'static str,
    /// `allow`, `conflict`, `warn` or `deny`
    pub decision: &'static str,
    /// The first cause's reason, empty when there is none
    pub reason: &'static str,
}

/// What is told apart among chosen images
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ImageDecisionLabels {
    /// The row of the matrix
    pub component: &'static str,
    /// The rule that chose: `resource`, `override`, `mirror`, `default`
    pub source: &'static str,
}

/// What a listener counts; the default is registered nowhere
#[derive(Clone, Debug, Default)]
pub struct ConnectionMetrics {
    open: Gauge,
    evicted: Counter,
    handshake_errors: Counter,
    client_refusals: Refusals,
}

impl ConnectionMetrics {
    pub(super) fn open(&self) -> Up {
        Up::new(&self.open)
    }

    pub(super) fn evicted(&self) {
        self.evicted.inc();
    }

    pub(super) fn client_refusals(&self) -> &Refusals {
        &self.client_refusals
    }

    pub(super) fn handshake_failed(&self) {
        self.handshake_errors.inc();
    }
}

/// The gauge of the serving certificate's end; the default is registered nowhere
#[derive(Clone, Debug, Default)]
pub struct CertificateExpiry(Gauge);

impl CertificateExpiry {
    pub(super) fn set(&self, not_after: Timestamp) {
        self.0.set(not_after.as_second());
    }
}

/// Holds a gauge one higher until it is dropped, also when its task panics or is cancelled
#[derive(Debug)]
pub struct Up(Gauge);

impl Up {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct BuildLabels {
    version: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct DurationLabels {
    webhook: &'static str,
}

fn register_connections(registry: &mut Registry, connections: &ConnectionMetrics) {
    registry.register(
        "client_certificates_refused",
        "Connections on the webhook port that were refused for the client's certificate",
        connections
            .client_refusals
            .counter
            .clone(),
    );
    registry.register(
        "connections",
        "Open connections on the webhook port",
        connections.open.clone(),
    );
    registry.register(
        "connections_evicted",
        "Connections on the webhook port that were ended because others needed their place",
        connections.evicted.clone(),
    );
    registry.register(
        "tls_handshake_errors",
        "Connections on the webhook port that ended before a session stood",
        connections.handshake_errors.clone(),
    );
}

fn register_rejections(registry: &mut Registry, rejections: &RejectionMetrics) {
    registry.register(
        "rejections",
        "Rejections written, evicted and expired, and denials folded into one or dropped, by event",
        rejections.events.clone(),
    );
    registry.register(
        "rejections_pending",
        "Rejections that wait to be written",
        rejections.pending.clone(),
    );
    registry.register(
        "rejections_writable",
        "1 while the API server takes Rejections, else 0",
        rejections.writable.clone(),
    );
}

/// From 50 µs, a usual answer, to 1 s, where an operator should have been told long ago
fn review_histogram() -> Histogram {
    Histogram::new([
        0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
        0.5, 1.0,
    ])
}

async fn encode(State(registry): State<Arc<Registry>>) -> Response {
    let mut buffer = String::new();
    match text::encode(&mut buffer, &registry) {
        Ok(()) => {
            let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, content_type)], buffer).into_response()
        }
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("metrics cannot be written: {error}\n"),
        )
            .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn scrape(metrics: &Metrics) -> String {
        let request = Request::get("/metrics")
            .body(Body::empty())
            .unwrap();
        let response = metrics
            .router()
            .oneshot(request)
            .await
            .unwrap();
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
        let bytes = response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn every_series_has_its_documented_name() {
        let metrics = Metrics::new("1.2.3");
        let in_flight = metrics.review_in_flight();
        metrics.review(&ReviewLabels {
            webhook: Webhook::Validate.as_str(),
            kind: "Agent",
            operation: "CREATE",
            decision: "deny",
            reason: "ImageRequired",
        });
        metrics.review_duration(Webhook::Mutate, Duration::from_micros(70));
        metrics.review_shed();
        metrics.review_undecided();
        metrics.image_decision(&ImageDecisionLabels {
            component: "ClaudeCode",
            source: "mirror",
        });
        metrics.leads(true);
        metrics.connections().handshake_failed();
        metrics
            .certificate_expiry()
            .set(Timestamp::from_second(1_900_000_000).unwrap());

        let text = scrape(&metrics).await;
        for line in [
            r#"agentkube_build_info{version="1.2.3"} 1"#,
            "agentkube_certificate_expiry_timestamp_seconds 1900000000",
            "agentkube_connections 0",
            "agentkube_connections_evicted_total 0",
            r#"agentkube_image_decisions_total{component="ClaudeCode",source="mirror"} 1"#,
            "agentkube_leader 1",
            r#"agentkube_rejections_total{event="dropped"} 0"#,
            r#"agentkube_rejections_total{event="written"} 0"#,
            "agentkube_rejections_pending 0",
            "agentkube_rejections_writable 1",
            r#"agentkube_review_duration_seconds_bucket{le="0.00005",webhook="mutate"} 0"#,
            r#"agentkube_review_duration_seconds_bucket{le="0.0001",webhook="mutate"} 1"#,
            r#"agentkube_review_duration_seconds_bucket{le="1.0",webhook="validate"} 0"#,
            r#"agentkube_reviews_total{webhook="validate",kind="Agent",operation="CREATE",decision="deny",reason="ImageRequired"} 1"#,
            "agentkube_reviews_in_flight 1",
            "agentkube_reviews_shed_total 1",
            "agentkube_reviews_undecided_total 1",
            "agentkube_tls_handshake_errors_total 1",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is missing in\n{text}"
            );
        }

        drop(in_flight);
        assert!(
            scrape(&metrics)
                .await
                .contains("agentkube_reviews_in_flight 0\n")
        );
    }
}
