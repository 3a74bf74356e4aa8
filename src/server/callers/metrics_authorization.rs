//! Authorization of the metrics endpoint: a bearer token that the API server knows, whose user may `get`
//! the path `/metrics`, as Kubernetes' own components require.
//!
//! `[ token ] -> TokenReview -> SubjectAccessReview -> the answer, for a moment`
//!
//! Invariant: if the API server cannot answer, the response is a 503 and never the metrics.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use crate::ttl_cache::TtlCache;

/// Authenticates and authorizes readers of the metrics through the API server.
pub struct MetricsAuthorizer {
    client: Client,
    answers: TtlCache<Key, ScrapeVerdict>,
    /// Limits concurrent questions, since every made-up token costs one.
    questions: Semaphore,
}

/// A digest of a token, so that the token itself is not kept.
type Key = Vec<u8>;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ScrapeVerdict {
    Allow,
    Forbid,
    Unknown,
}

impl MetricsAuthorizer {
    /// An authorizer that uses this client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            answers: TtlCache::new(CAPACITY),
            questions: Semaphore::new(QUESTIONS),
        }
    }

    /// The same routes, for authorized readers only.
    ///
    /// The response is 401 for a missing or unknown token, 403 for a user without the right, and 503 if
    /// the API server does not answer.
    ///
    /// RBAC: `create` on `tokenreviews` and `subjectaccessreviews`.
    pub(crate) fn guard(self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(Arc::new(self), guard))
    }

    async fn judge(&self, token: &str) -> Result<ScrapeVerdict, Error> {
        let key = digest(&SHA256, token.as_bytes())
            .as_ref()
            .to_vec();
        let asked = Instant::now();
        if let Some(verdict) = self.answers.find(&key, asked) {
            return Ok(verdict);
        }
        let verdict = timeout(DEADLINE, self.ask(token))
            .await
            .map_err(|_| Error::Deadline)??;
        let lifetime = match verdict {
            ScrapeVerdict::Allow => ALLOWED,
            ScrapeVerdict::Forbid | ScrapeVerdict::Unknown => REFUSED,
        };
        self.answers
            .insert(key, verdict, asked, lifetime);
        Ok(verdict)
    }

    async fn ask(&self, token: &str) -> Result<ScrapeVerdict, Error> {
        // The semaphore is never closed.
        let _place = self.questions.acquire().await;
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                ..TokenReviewSpec::default()
            },
            ..TokenReview::default()
        };
        let answer = Api::all(self.client.clone())
            .create(&PostParams::default(), &review)
            .await?
            .status
            .unwrap_or_default();
        let (Some(true), Some(user)) = (answer.authenticated, answer.user) else {
            return Ok(ScrapeVerdict::Unknown);
        };
        let answer = Api::all(self.client.clone())
            .create(&PostParams::default(), &may_read(user))
            .await?
            .status
            .unwrap_or_default();
        Ok(if answer.allowed {
            ScrapeVerdict::Allow
        } else {
            ScrapeVerdict::Forbid
        })
    }
}

/// The time for which a revoked right may still count.
const ALLOWED: Duration = Duration::from_secs(10);

/// Short, so that a newly granted right takes effect soon.
const REFUSED: Duration = Duration::from_secs(1);

/// Shorter than the usual 10 s timeout of a scraper.
const DEADLINE: Duration = Duration::from_secs(5);

/// More tokens than this suggest that somebody is guessing.
const CAPACITY: usize = 256;

/// Concurrent questions to the API server.
const QUESTIONS: usize = 4;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("the API server does not answer")]
    Deadline,
}

fn may_read(user: UserInfo) -> SubjectAccessReview {
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: user.username,
            uid: user.uid,
            groups: user.groups,
            extra: user.extra,
            non_resource_attributes: Some(NonResourceAttributes {
                path: Some("/metrics".to_owned()),
                verb: Some("get".to_owned()),
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

async fn guard(
    State(authorizer): State<Arc<MetricsAuthorizer>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(token) = bearer(request.headers()) else {
        return unauthorized();
    };
    match authorizer.judge(token).await {
        Ok(ScrapeVerdict::Allow) => next.run(request).await,
        Ok(ScrapeVerdict::Forbid) => (
            StatusCode::FORBIDDEN,
            "the user of this token may not get the path /metrics (hint: bind them to the ClusterRole `agentkube-metrics-reader`)\n",
        )
            .into_response(),
        Ok(ScrapeVerdict::Unknown) => unauthorized(),
        Err(error) => {
            tracing::debug!(%error, "a reader of the metrics could not be authorized");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the API server could not be asked for your rights\n",
            )
                .into_response()
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn unauthorized() -> Response {
    (
        StatusCode::UNAUTHORIZED,
        [(header::WWW_AUTHENTICATE, "Bearer")],
        "metrics require a bearer token of a ServiceAccount\n",
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;
    use crate::fake_api::{Api as FakeApi, Reply};

    const TOKENS: &str = "/tokenreviews";
    const RIGHTS: &str = "/subjectaccessreviews";

    fn api(authenticated: bool, allowed: bool) -> FakeApi {
        let api = FakeApi::default();
        let user = json!({"username": "ada", "uid": "7", "groups": ["devs"], "extra": {"scopes": ["all"]}});
        let review = |kind: &str, status: Value| {
            Reply::ok(json!({"kind": kind, "spec": {}, "status": status}))
        };
        api.on(
            "POST",
            TOKENS,
            review(
                "TokenReview",
                json!({"authenticated": authenticated, "user": user}),
            ),
        );
        api.on(
            "POST",
            RIGHTS,
            review("SubjectAccessReview", json!({"allowed": allowed})),
        );
        api
    }

    fn guarded(api: &FakeApi) -> Router {
        let router = Router::new().route("/metrics", get(async || "numbers"));
        MetricsAuthorizer::new(api.client()).guard(router)
    }

    async fn status(router: &Router, authorization: Option<&str>) -> u16 {
        let mut request = http::Request::get("/metrics");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = router
            .clone()
            .oneshot(request)
            .await
            .unwrap();
        response.status().as_u16()
    }

    #[tokio::test]
    async fn who_may_reads_and_is_asked_about_once() {
        let api = api(true, true);
        let router = guarded(&api);
        for _ in 0..3 {
            assert_eq!(status(&router, Some("Bearer secret")).await, 200);
        }
        assert_eq!(api.total(), 2);
        assert_eq!(api.request("POST", TOKENS)["spec"]["token"], "secret");
        assert_eq!(
            api.request("POST", RIGHTS)["spec"],
            json!({
                "user": "ada", "uid": "7", "groups": ["devs"], "extra": {"scopes": ["all"]},
                "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
            })
        );
    }

    #[tokio::test]
    async fn without_a_token_nothing_is_asked() {
        let api = api(true, true);
        let router = guarded(&api);
        for authorization in [
            None,
            Some("Basic c2VjcmV0"),
            Some("Bearer"),
            Some("Bearer "),
        ] {
            assert_eq!(
                status(&router, authorization).await,
                401,
                "{authorization:?}"
            );
        }
        assert_eq!(api.total(), 0);
    }

    #[tokio::test]
    async fn a_stranger_and_a_user_without_the_right_are_told_apart() {
        let stranger = guarded(&api(false, true));
        assert_eq!(status(&stranger, Some("Bearer secret")).await, 401);
        let user = guarded(&api(true, false));
        assert_eq!(status(&user, Some("Bearer secret")).await, 403);
    }

    #[tokio::test]
    async fn what_is_not_answered_is_no_yes_and_is_not_remembered() {
        for path in [TOKENS, RIGHTS] {
            let api = api(true, true);
            api.on("POST", path, Reply::error(403, "Forbidden", "no"));
            let router = guarded(&api);
            assert_eq!(status(&router, Some("Bearer secret")).await, 503);
            let asked = api.total();
            assert_eq!(status(&router, Some("Bearer secret")).await, 503);
            assert!(api.total() > asked);
        }
    }
}
