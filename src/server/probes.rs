//! Liveness and readiness probes, on their own plain HTTP port.

use std::{
    borrow::Cow,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Router, extract::State, routing::get};
use http::StatusCode;

use crate::server::Shutdown;

/// Poll interval of [`Health::ready`]; checks cannot notify.
const READY_POLL: std::time::Duration = std::time::Duration::from_millis(50);

/// Named checks that together decide if this replica is ready.
///
/// Checks run on every probe, so results that change with time, such as an expiring certificate, need no
/// notification.
pub struct Health {
    shutdown: Shutdown,
    checks: Vec<(&'static str, Check)>,
}

type Check = Box<dyn Fn() -> CheckResult + Send + Sync>;

/// The result of a check; an error is the reason why it fails.
pub type CheckResult = Result<(), Cow<'static, str>>;

impl Health {
    /// Only the check `draining`, which fails once `shutdown` has begun.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self {
            shutdown,
            checks: Vec::new(),
        }
    }

    /// Adds a check that runs on every probe. It must not block.
    pub fn check(
        &mut self,
        name: &'static str,
        check: impl Fn() -> CheckResult + Send + Sync + 'static,
    ) {
        self.checks
            .push((name, Box::new(check)));
    }

    /// Adds a check that its holder switches; it fails with `waiting` until then.
    pub fn flag(&mut self, name: &'static str, waiting: &'static str) -> Flag {
        let flag = Flag(Arc::new(Mutex::new(Err(waiting.into()))));
        let state = flag.clone();
        self.check(name, move || state.state());
        flag
    }

    /// The routes `/healthz`, which is `ok` while the process serves, and `/readyz`, 200 or 503 with a
    /// line per check, as in Kubernetes' own components.
    pub fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/healthz", get(async || "ok"))
            .route("/readyz", get(readyz))
            .with_state(self)
    }

    /// Waits until every check passes.
    pub async fn ready(&self) {
        while !self.report().0 {
            tokio::time::sleep(READY_POLL).await;
        }
    }

    fn report(&self) -> (bool, String) {
        let draining = if self.shutdown.is_draining() {
            Err("this replica is shutting down".into())
        } else {
            Ok(())
        };
        let results = self
            .checks
            .iter()
            .map(|(name, check)| (*name, check()))
            .chain([("draining", draining)]);

        let mut ready = true;
        let mut text = String::new();
        for (name, result) in results {
            // Writing into a `String` cannot fail.
            let _ = match result {
                Ok(()) => writeln!(text, "[+]{name} ok"),
                Err(why) => {
                    ready = false;
                    writeln!(text, "[-]{name}: {why}")
                }
            };
        }
        text.push_str(if ready {
            "readyz check passed\n"
        } else {
            "readyz check failed\n"
        });
        (ready, text)
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.checks.iter().map(|(name, _)| name))
            .finish()
    }
}

/// The holder's side of a check made by [`Health::flag`].
#[derive(Clone, Debug)]
pub struct Flag(Arc<Mutex<CheckResult>>);

impl Flag {
    /// The check passes from now on.
    pub fn pass(&self) {
        self.set(Ok(()));
    }

    /// The check fails from now on, for this reason.
    pub fn fail(&self, why: impl Into<Cow<'static, str>>) {
        self.set(Err(why.into()));
    }

    /// The check fails for this reason, unless it has passed before.
    pub(crate) fn fail_unless_passed(&self, why: impl Into<Cow<'static, str>>) {
        let mut state = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if state.is_err() {
            *state = Err(why.into());
        }
    }

    fn set(&self, state: CheckResult) {
        *self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn state(&self) -> CheckResult {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

async fn readyz(State(health): State<Arc<Health>>) -> (StatusCode, String) {
    let (ready, text) = health.report();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, text)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn probe(router: &Router, path: &str) -> (u16, String) {
        let request = Request::get(path)
            .body(Body::empty())
            .unwrap();
        let response = router
            .clone()
            .oneshot(request)
            .await
            .unwrap();
        let status = response.status().as_u16();
        let bytes = response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_names_what_it_waits_for() {
        let mut health = Health::new(Shutdown::new());
        health.check("certificate", || Ok(()));
        let index = health.flag("index", "waiting for the first list of Agents");
        let router = Arc::new(health).router();

        let (status, text) = probe(&router, "/readyz").await;
        assert_eq!(status, 503);
        insta::assert_snapshot!(text, @r"
        [+]certificate ok
        [-]index: waiting for the first list of Agents
        [+]draining ok
        readyz check failed
        ");

        index.pass();
        let (status, text) = probe(&router, "/readyz").await;
        assert_eq!(status, 200);
        insta::assert_snapshot!(text, @r"
        [+]certificate ok
        [+]index ok
        [+]draining ok
        readyz check passed
        ");

        index.fail("the watch has ended");
        assert_eq!(probe(&router, "/readyz").await.0, 503);
    }

    #[tokio::test]
    async fn a_draining_replica_is_alive_but_not_ready() {
        let shutdown = Shutdown::new();
        let router = Arc::new(Health::new(shutdown.clone())).router();
        assert_eq!(probe(&router, "/readyz").await.0, 200);

        shutdown.drain();

        assert_eq!(probe(&router, "/readyz").await.0, 503);
        assert_eq!(probe(&router, "/healthz").await, (200, "ok".to_owned()));
    }
}
