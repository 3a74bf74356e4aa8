//! The pauses between the retries of a watch that fails.

use http::Request;
use kube::{Client, client::Body};
use serde_json::json;
use tokio::time::timeout;

use super::super::*;
use crate::{
    api::Agent,
    fake_api::{Api as FakeApi, Reply},
};

/// Doubling pauses that begin with this one.
struct Doubling(Duration);

impl Iterator for Doubling {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 *= 2;
        Some(pause)
    }
}

impl Backoff for Doubling {
    fn reset(&mut self) {
        self.0 = Duration::from_millis(20);
    }
}

/// The events of a watch within a second.
async fn a_second_of(client: Client) -> Vec<watcher::Result<Event<Agent>>> {
    let pauses = Doubling(Duration::from_millis(20));
    let mut events = with_pauses(Api::all(client), everything(), pauses);
    let mut seen = Vec::new();
    let all = async {
        while let Some(event) = events.next().await {
            seen.push(event);
        }
    };
    timeout(Duration::from_secs(1), all)
        .await
        .unwrap_err();
    seen
}

/// Retries after 0, 20, 60, 140, 300 and 620 ms, none of which counts as a success.
fn expect_ever_rarer_failures(seen: &[watcher::Result<Event<Agent>>]) {
    let failures = seen
        .iter()
        .filter(|event| event.is_err());
    let failures = failures.count();
    assert!((3..=6).contains(&failures), "{failures} failures");
    let successes = seen
        .iter()
        .flatten()
        .filter(|event| succeeds(event));
    assert_eq!(successes.count(), 0, "{seen:?}");
}

#[tokio::test]
async fn a_list_that_fails_is_tried_more_and_more_rarely() {
    let api = FakeApi::default();
    api.on("GET", "/agents", Reply::error(500, "InternalError", "no"));
    expect_ever_rarer_failures(&a_second_of(api.client()).await);
}

#[tokio::test]
async fn a_list_that_fails_at_a_later_page_has_not_worked() {
    let (good, bad) = (FakeApi::default(), FakeApi::default());
    let agent = json!({
        "apiVersion": "agentkube.io/v1alpha1", "kind": "Agent",
        "metadata": {"name": "bot", "namespace": "team"}, "spec": {"runtime": "Codex"},
    });
    let page = json!({"metadata": {"continue": "there-is-more"}, "items": [agent]});
    good.on("GET", "/agents", Reply::ok(page));
    bad.on("GET", "/agents", Reply::error(500, "InternalError", "no"));
    let (good, bad) = (good.client(), bad.client());
    let service = tower::service_fn(move |request: Request<Body>| {
        let query = request
            .uri()
            .query()
            .unwrap_or_default();
        let answers = if query.contains("continue=") {
            bad.clone()
        } else {
            good.clone()
        };
        async move { answers.send(request).await }
    });
    let seen = a_second_of(Client::new(service, "default")).await;
    expect_ever_rarer_failures(&seen);
    let listed = seen
        .iter()
        .flatten()
        .filter(|event| matches!(event, Event::InitApply(_)));
    assert!(listed.count() > 0, "the first page came: {seen:?}");
}
