//! `/mutate`, `/rewrite-defaults` and `/validate`: the endpoints that answer reviews of the API server.
//!
//! ```text
//! [ request ] -> body -> slot -> [ Review ] -> [ DecisionInputs ] -> [ Decision ] -> answer
//! ```
//!
//! After the body is read nothing is awaited, except if a pod's Agent or Tool is not in the index yet,
//! or if the author of an Agent or Tool needs rights to its references. Denials are counted, logged and
//! recorded in one place, the module `trail`.

pub mod questions;
pub(in crate::server) mod trail;
pub(in crate::server) mod turn;

use std::{panic::resume_unwind, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use http::{HeaderValue, StatusCode, header};
use kube::Client;
use thiserror::Error;
use tokio::{runtime::Handle, sync::Semaphore, task::spawn_blocking, time::Instant};

use self::{
    questions::{CONCURRENT_QUESTIONS, limited},
    trail::{Asked, AuditTrail},
    turn::Turn,
};
use super::{
    Deadline,
    body::{self, BodyBudget, BodyError, ReviewBody},
};
use crate::{
    admission::{
        AuthorRights, Decision, Policy, Reference, Review, Unreadable, Webhook, answer, decide,
        refuse_unreadable_owner, unavailable,
    },
    author_rights::{AuthorityError, Authorizer},
    index::{FoundOwners, Index, LookupError},
    rejections::Recorder,
    telemetry::Metrics,
};

/// The most concurrent reviews. Further ones are rejected at once, since a queue would only answer all
/// of them too late.
///
/// Only complete bodies count, so slow senders do not keep out others. It is less than the connections
/// of [`Limits::webhook`](super::Limits::webhook), so there is always a connection that may be closed
/// for a new one.
pub const CONCURRENT_REVIEWS: usize = 256;

/// The size in bytes from which a review is answered on a separate thread, since parsing it would delay
/// others.
const LARGE_BYTES: usize = 64 * 1024;

/// The most of these threads that work at once; further large reviews wait. On two processors a second
/// one would delay others. A review that waits for the API server gives up its turn.
pub const LARGE_REVIEWS: usize = 1;

/// The state that answers reviews.
pub struct Webhooks {
    policy: Arc<Policy>,
    index: Arc<Index>,
    authorizer: Authorizer,
    client: Client,
    metrics: Metrics,
    trail: AuditTrail,
    bodies: BodyBudget,
    slots: Semaphore,
    large: Arc<Semaphore>,
}

impl Webhooks {
    /// Answers reviews by this policy, with this index and this client. Denials go to `recorder`.
    ///
    /// RBAC: `get` on agents and tools, see `Index::find`, and `create` on subjectaccessreviews, see
    /// `Authorizer::permitted`.
    #[must_use]
    pub fn new(
        policy: Arc<Policy>,
        index: Arc<Index>,
        client: Client,
        metrics: Metrics,
        recorder: Arc<Recorder>,
    ) -> Self {
        let slots = Semaphore::new(CONCURRENT_REVIEWS);
        // One client for all questions of reviews, so that they share one cap.
        let client = limited(client, CONCURRENT_QUESTIONS);
        Self {
            policy,
            index,
            authorizer: Authorizer::new(client.clone()),
            client,
            trail: AuditTrail::new(metrics.clone(), recorder),
            metrics,
            bodies: BodyBudget::new(body::SHARED_BYTES),
            slots,
            large: Arc::new(Semaphore::new(LARGE_REVIEWS)),
        }
    }

    /// The routes that the API server calls.
    pub fn router(self) -> Router {
        let mut router = Router::new();
        for webhook in Webhook::ALL {
            let serve = move |State(webhooks): State<Arc<Self>>, request: Request<Body>| {
                webhooks.serve(webhook, request)
            };
            router = router.route(webhook.path(), post(serve));
        }
        router
            .fallback(no_such_path)
            .with_state(Arc::new(self))
    }

    async fn serve(self: Arc<Self>, webhook: Webhook, request: Request) -> Response {
        let arrival = Instant::now();
        let deadline = Deadline::from_query(arrival, request.uri().query());
        let body = match body::read(request, deadline, &self.bodies).await {
            Ok(body) => body,
            Err(error) => {
                if error == BodyError::NoRoom {
                    self.metrics.review_shed();
                }
                return error.into_response();
            }
        };
        let Ok(_slot) = self.slots.try_acquire() else {
            self.metrics.review_shed();
            return overloaded();
        };
        let _in_flight = self.metrics.review_in_flight();
        let start = Instant::now();
        let response = if body.len() > LARGE_BYTES {
            self.clone()
                .answer_aside(webhook, body, start, deadline)
                .await
        } else {
            self.answer(webhook, &body, start, deadline, None)
                .await
        };
        self.metrics
            .review_duration(webhook, start.elapsed());
        response
    }

    /// Answers on a separate thread, in turn with other large reviews.
    async fn answer_aside(
        self: Arc<Self>,
        webhook: Webhook,
        body: ReviewBody,
        start: Instant,
        deadline: Deadline,
    ) -> Response {
        let Some(turn) = Turn::take(&self.large, deadline.instant()).await else {
            self.metrics.review_shed();
            return overloaded();
        };
        let runtime = Handle::current();
        let answering = spawn_blocking(move || {
            runtime.block_on(self.answer(webhook, &body, start, deadline, Some(turn)))
        });
        match answering.await {
            Ok(response) => response,
            // Propagates the panic.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => overloaded(),
            },
        }
    }

    async fn answer(
        &self,
        webhook: Webhook,
        body: &[u8],
        start: Instant,
        deadline: Deadline,
        mut turn: Option<Turn>,
    ) -> Response {
        let review = match Review::parse(body) {
            Ok(review) => review,
            Err(Unreadable::Body(message)) => {
                tracing::debug!(%message, "the body is not an AdmissionReview");
                return (StatusCode::BAD_REQUEST, format!("{message}\n")).into_response();
            }
            Err(Unreadable::Request(request)) => {
                let decision = Decision::deny(request.denial.clone());
                let asked = Asked::from(&*request);
                self.trail
                    .leave(webhook, &asked, &decision, start);
                return json(answer(&request.uid, &decision));
            }
        };
        let learning = self.learn(webhook, &review, deadline);
        let learned = match &mut turn {
            None => Some(learning.await),
            Some(turn) => {
                turn.give_way(learning, deadline.instant())
                    .await
            }
        };
        let Some(learned) = learned else {
            self.metrics.review_shed();
            return overloaded();
        };
        match learned {
            Ok(known) => {
                let decision = known.decide(webhook, &review, &self.policy);
                self.trail
                    .leave(webhook, &Asked::from(&review), &decision, start);
                json(answer(review.uid(), &decision))
            }
            Err(Undecidable::Lookup(LookupError::Unreadable { kind, name, field })) => {
                let decision = refuse_unreadable_owner(&review, kind, &name, &field);
                self.trail
                    .leave(webhook, &Asked::from(&review), &decision, start);
                json(answer(review.uid(), &decision))
            }
            Err(error) => {
                self.metrics.review_undecided();
                tracing::warn!(uid = review.uid(), namespace = review.namespace(), %error, "a review could not be decided");
                let message = format!("{error} (hint: try again)");
                let mut response = json(unavailable(review.uid(), &message));
                // The retry uses another connection, which may reach another replica: perhaps only this
                // one is cut off.
                response
                    .headers_mut()
                    .insert(header::CONNECTION, HeaderValue::from_static("close"));
                response
            }
        }
    }

    /// Collects the inputs of the decision.
    async fn learn<'r>(
        &self,
        webhook: Webhook,
        review: &'r Review<'_>,
        deadline: Deadline,
    ) -> Result<DecisionInputs<'r>, Undecidable> {
        let wants = review.wants(webhook);
        let deadline = deadline.instant();
        let found = self
            .index
            .find(&self.client, review.namespace(), wants, deadline)
            .await?;
        let permitted = if self.policy.authorize_references {
            self.authorizer
                .permitted(review, deadline)
                .await?
        } else {
            Vec::new()
        };
        Ok(DecisionInputs { found, permitted })
    }
}

/// The inputs of a decision besides the object and the policy.
struct DecisionInputs<'r> {
    found: FoundOwners,
    /// The references that the object's author may use.
    permitted: Vec<Reference<'r>>,
}

impl DecisionInputs<'_> {
    fn decide(&self, webhook: Webhook, review: &Review<'_>, policy: &Policy) -> Decision {
        let Self { found, permitted } = self;
        let authority = AuthorRights::Holds(permitted);
        decide(webhook, review, found.owners(), authority, policy)
    }
}

/// The reason why a review cannot be decided now.
#[derive(Debug, Error)]
enum Undecidable {
    #[error(transparent)]
    AuthorRights(#[from] AuthorityError),
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

async fn no_such_path() -> (StatusCode, String) {
    let paths = Webhook::ALL
        .map(Webhook::path)
        .join(", ");
    let message = format!("no such path (hint: the webhooks are {paths})\n");
    (StatusCode::NOT_FOUND, message)
}

fn json(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// With `Retry-After` the API server's client retries within the webhook's timeout.
fn overloaded() -> Response {
    (
        StatusCode::SERVICE_UNAVAILABLE,
        [(header::RETRY_AFTER, "1")],
        "too many reviews at once (hint: add replicas of the manager)\n",
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::Method;
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;
    use crate::rejections::Retention;

    /// Webhooks whose API server answers with this status code, or never.
    fn webhooks(code: Option<u16>) -> (Router, Metrics) {
        let service = tower::service_fn(move |_: http::Request<kube::client::Body>| async move {
            let Some(code) = code else {
                return std::future::pending().await;
            };
            let reason = if code == 404 {
                "NotFound"
            } else {
                "InternalError"
            };
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": "no"});
            let response = http::Response::builder()
                .status(code)
                .body(kube::client::Body::from(status.to_string().into_bytes()));
            response.map_err(std::io::Error::other)
        });
        let client = Client::new(service, "default");
        let metrics = Metrics::new("test");
        let recorder = Recorder::new(Retention::default(), metrics.rejections());
        let webhooks = Webhooks::new(
            Arc::default(),
            Arc::default(),
            client,
            metrics.clone(),
            Arc::new(recorder),
        );
        (webhooks.router(), metrics)
    }

    fn request(method: Method, uri: &str, body: impl Into<Body>) -> Request<Body> {
        Request::builder()
            .method(method)
            .uri(uri)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.into())
            .unwrap()
    }

    async fn ask(router: Router, request: Request<Body>) -> (StatusCode, String) {
        let response = router.oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// A review of a pod of the Agent `bot`.
    fn review() -> String {
        let object = json!({
            "metadata": {"name": "p", "labels": {"agentkube.io/agent": "bot"}},
            "spec": {"containers": [{"name": "c", "image": "agentkube.invalid/agent"}]},
        });
        let request = json!({
            "uid": "u", "operation": "CREATE", "namespace": "team", "name": "p", "object": object,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
        });
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
            .to_string()
    }

    #[tokio::test]
    async fn an_agent_that_does_not_exist_is_a_refusal_and_is_counted() {
        let (router, metrics) = webhooks(Some(404));
        let (status, body) = ask(
            router,
            request(Method::POST, "/mutate?timeout=5s", review()),
        )
        .await;
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            answer["response"]["status"]["details"]["causes"][0]["reason"],
            "UnknownAgent"
        );
        let (_, metrics) = ask(metrics.router(), request(Method::GET, "/metrics", "")).await;
        let counted = r#"agentkube_reviews_total{webhook="mutate",kind="Pod",operation="CREATE",decision="deny",reason="UnknownAgent"} 1"#;
        assert!(metrics.contains(counted), "{metrics}");
    }

    #[tokio::test]
    async fn an_api_server_that_does_not_answer_costs_no_more_than_the_deadline() {
        let (router, _) = webhooks(None);
        let start = Instant::now();
        let (status, body) = ask(
            router,
            request(Method::POST, "/mutate?timeout=1s", review()),
        )
        .await;
        assert_eq!(status, StatusCode::OK);
        assert!(
            body.contains(r#""code":503"#) && body.contains("try again"),
            "{body}"
        );
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "{:?}",
            start.elapsed()
        );
    }

    #[tokio::test]
    async fn what_cannot_be_decided_here_may_be_decided_by_another_replica() {
        let (router, _) = webhooks(Some(500));
        let request = request(Method::POST, "/mutate", review());
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.headers()[header::CONNECTION], "close");
    }

    #[tokio::test]
    async fn a_failure_of_the_api_server_is_no_refusal_and_is_counted() {
        let (router, metrics) = webhooks(Some(500));
        let (_, body) = ask(router, request(Method::POST, "/validate", review())).await;
        assert!(body.contains(r#""code":503"#), "{body}");
        let (_, metrics) = ask(metrics.router(), request(Method::GET, "/metrics", "")).await;
        assert!(
            metrics.contains("agentkube_reviews_undecided_total 1\n"),
            "{metrics}"
        );
    }

    #[tokio::test]
    async fn what_is_no_review_is_answered_with_what_was_expected() {
        let (router, _) = webhooks(Some(404));
        let (status, body) = ask(router.clone(), request(Method::POST, "/mutate", "<html>")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(body.contains("not an AdmissionReview"), "{body}");
        let (status, body) = ask(router.clone(), request(Method::POST, "/mutates", review())).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(
            body.contains("/mutate, /rewrite-defaults, /validate"),
            "{body}"
        );
        let (status, _) = ask(router, request(Method::GET, "/mutate", "")).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    }

    #[tokio::test]
    async fn reviews_beyond_the_cap_are_turned_away_at_once() {
        // An API server that never answers holds every slot.
        let (router, metrics) = webhooks(None);
        let mut slow = tokio::task::JoinSet::new();
        for _ in 0..CONCURRENT_REVIEWS {
            slow.spawn(router.clone().oneshot(request(
                Method::POST,
                "/mutate?timeout=30s",
                review(),
            )));
        }
        let full = format!("agentkube_reviews_in_flight {CONCURRENT_REVIEWS}\n");
        let filled = async {
            while !ask(metrics.router(), request(Method::GET, "/metrics", ""))
                .await
                .1
                .contains(&full)
            {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), filled)
            .await
            .unwrap();
        let refused = router
            .clone()
            .oneshot(request(Method::POST, "/mutate", review()))
            .await
            .unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
        slow.shutdown().await;
        let (status, _) = ask(
            router,
            request(Method::POST, "/mutate?timeout=200ms", review()),
        )
        .await;
        assert_eq!(status, StatusCode::OK);
    }

    #[tokio::test]
    async fn large_reviews_are_answered_like_others() {
        let (router, _) = webhooks(Some(404));
        let mut body = review();
        body.push_str(&" ".repeat(LARGE_BYTES));
        let (_, answer) = ask(router, request(Method::POST, "/mutate", body)).await;
        assert!(answer.contains("UnknownAgent"), "{answer}");
    }

    /// Agents with a reference each, of which the API server is asked and does not answer, keep the turn
    /// of large reviews from nobody.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_slow_api_server_and_a_large_review_turn_no_other_large_one_away() {
        let (router, _) = webhooks(None);
        let large = |body: String| body + &" ".repeat(LARGE_BYTES);
        let mut slow = tokio::task::JoinSet::new();
        for _ in 0..=LARGE_REVIEWS {
            let uri = "/mutate?timeout=30s";
            let waits = request(Method::POST, uri, large(review()));
            slow.spawn(router.clone().oneshot(waits));
        }
        // One that needs nobody.
        let other = large(review().replace("agentkube.io/agent", "example.com/agent"))
            .replace("agentkube.invalid/agent", "quay.io/team/app:v1");
        for _ in 0..10 {
            let uri = "/mutate?timeout=10s";
            let request = request(Method::POST, uri, other.clone());
            let (status, answer) = ask(router.clone(), request).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            assert!(answer.contains(r#""allowed":true"#), "{answer}");
        }
        slow.shutdown().await;
    }

    #[tokio::test]
    async fn bodies_that_do_not_come_take_no_place_of_those_that_do() {
        let (router, _) = webhooks(Some(404));
        let mut slow = tokio::task::JoinSet::new();
        for _ in 0..=CONCURRENT_REVIEWS {
            let body = Body::from_stream(futures::stream::pending::<std::io::Result<Bytes>>());
            slow.spawn(
                router
                    .clone()
                    .oneshot(request(Method::POST, "/mutate?timeout=30s", body)),
            );
            tokio::task::yield_now().await;
        }
        let (status, _) = ask(router, request(Method::POST, "/mutate", review())).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(slow.len(), CONCURRENT_REVIEWS + 1);
        slow.shutdown().await;
    }
}
