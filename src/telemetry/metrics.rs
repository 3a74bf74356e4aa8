use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};
use jiff::Timestamp;
use prometheus_client::{encoding::text, metrics::gauge::Gauge, registry::Registry};

use super::{
    CheckKind, ConnectionMetrics, GaugeGuard, METRICS, Problem,
    handles::{Handles, ImageDecisionLabels, ReviewLabels},
};
use crate::{admission::Webhook, rejections::RejectionMetrics, watch::UnreadableObjects};

/// Handles to all metrics of this process. Clones are cheap and share the state.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    handles: Handles,
}

impl Metrics {
    /// Registers every row of [`METRICS`], for a build of this version.
    #[must_use]
    pub fn new(version: &'static str) -> Self {
        let handles = Handles::new(version);
        let mut registry = Registry::with_prefix("agentkube");
        for metric in &METRICS {
            metric.register(&mut registry, &handles);
        }
        Self {
            registry: Arc::new(registry),
            handles,
        }
    }

    /// Counts one answered review.
    pub fn review(&self, labels: &ReviewLabels) {
        self.handles
            .reviews
            .get_or_create_owned(labels)
            .inc();
    }

    /// Records how long the answer to a review took.
    pub(crate) fn review_duration(&self, webhook: Webhook, duration: Duration) {
        self.handles
            .review_durations
            .observe(webhook, duration);
    }

    /// Counts a review as in flight until the guard is dropped.
    #[must_use]
    pub(crate) fn review_in_flight(&self) -> GaugeGuard {
        GaugeGuard::new(&self.handles.reviews_in_flight)
    }

    /// Counts one review that was refused because too many were in flight.
    pub(crate) fn review_shed(&self) {
        self.handles.reviews_shed.inc();
    }

    /// Counts one review that could not be decided, and may be tried again.
    pub(crate) fn review_undecided(&self) {
        self.handles.reviews_undecided.inc();
    }

    /// Counts one image chosen for a container.
    pub(crate) fn image_decision(&self, labels: &ImageDecisionLabels) {
        self.handles
            .image_decisions
            .get_or_create_owned(labels)
            .inc();
    }

    /// Records if this replica leads.
    pub fn leads(&self, leads: bool) {
        self.handles
            .leader
            .set(i64::from(leads));
    }

    /// A handle for one source of this problem.
    #[must_use]
    pub fn problem(&self, check: CheckKind) -> Problem {
        self.handles.problems.one(check)
    }

    /// The handle that counts unreadable objects.
    #[must_use]
    pub fn unreadable(&self) -> UnreadableObjects {
        self.handles.unreadable.clone()
    }

    /// The handles of the audit trail.
    #[must_use]
    pub fn rejections(&self) -> RejectionMetrics {
        self.handles.rejections.clone()
    }

    /// The handles of the webhook's listener.
    #[must_use]
    pub fn connections(&self) -> ConnectionMetrics {
        self.handles.connections.clone()
    }

    /// The gauge that a [`ServingCertificate`](crate::server::ServingCertificate) keeps.
    #[must_use]
    pub fn certificate_expiry(&self) -> CertificateExpiry {
        CertificateExpiry(self.handles.certificate_expiry.clone())
    }

    /// The route `/metrics`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/metrics", get(encode))
            .with_state(self.registry.clone())
    }
}

/// The gauge of the serving certificate's expiry.
#[derive(Clone, Debug, Default)]
pub struct CertificateExpiry(Gauge);

impl CertificateExpiry {
    /// Records when the certificate expires.
    pub fn set(&self, not_after: Timestamp) {
        self.0.set(not_after.as_second());
    }
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
        metrics
            .connections()
            .handshake_errors
            .inc();
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
