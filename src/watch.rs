//! A watch that goes on whatever happens, and says once that it fails.

use std::{fmt::Debug, time::Duration};

use futures::{StreamExt, stream, stream::BoxStream};
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, DefaultBackoff, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio::time::sleep;
use tracing::{debug, info, warn};

/// The code that an API server answers with where it no longer knows how things were.
const GONE: u16 = 410;

/// The pause where the back-off knows no more of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How many objects are listed at a time. Each is held whole until what is kept of it has been taken,
/// and the memory for that is not given back.
const PAGE: u32 = 100;

/// Every object of a kind, listed in small pages.
pub(crate) fn everything() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

/// One object alone, by its name.
pub(crate) fn named(name: &str) -> watcher::Config {
    watcher::Config::default().fields(&format!("metadata.name={name}"))
}

/// Hands every event of a watch to `on_event`, after `trim` has dropped what is not read; runs until
/// it is dropped.
///
/// RBAC: `list`, `watch` on the kind.
pub(crate) async fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    trim: fn(&mut K),
    mut on_event: impl FnMut(Event<K>),
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let kind = K::kind(&());
    let mut events = events(api, config).modify(trim);
    let mut is_failing = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if is_failing && succeeds(&event) {
                    info!(%kind, "the watch has recovered");
                    is_failing = false;
                }
                on_event(event);
            }
            Err(error) if begins_anew(&error) => debug!(%kind, "the watch begins anew"),
            // It is tried again; once is enough to say so.
            Err(error) if !is_failing => {
                is_failing = true;
                warn!(%kind, %error, hint = hint(&error), "the watch fails, and is tried again");
            }
            Err(_) => {}
        }
    }
}

/// The events of a watch that is tried again whenever it fails, after ever longer pauses. They start
/// over only once it has worked: before every list there is an [`Event::Init`], and a list may fail
/// at its last page.
///
/// RBAC: `list`, `watch` on the kind.
pub(crate) fn events<K>(
    api: Api<K>,
    config: watcher::Config,
) -> BoxStream<'static, watcher::Result<Event<K>>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    with_pauses(api, config, DefaultBackoff::default())
}

fn with_pauses<K>(
    api: Api<K>,
    config: watcher::Config,
    backoff: impl Backoff + 'static,
) -> BoxStream<'static, watcher::Result<Event<K>>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let start = (watcher::watcher(api, config).boxed(), backoff, None);
    stream::unfold(start, async |(mut events, mut backoff, pause)| {
        if let Some(pause) = pause {
            sleep(pause).await;
        }
        let event = events.next().await?;
        let pause = match &event {
            Ok(event) => {
                if succeeds(event) {
                    backoff.reset();
                }
                None
            }
            Err(_) => Some(backoff.next().unwrap_or(LONGEST_PAUSE)),
        };
        Some((event, (events, backoff, pause)))
    })
    .boxed()
}

/// Whether an event says that a watch works, and not only that it is tried.
fn succeeds<K>(event: &Event<K>) -> bool {
    match event {
        Event::Apply(_) | Event::Delete(_) | Event::InitDone => true,
        Event::Init | Event::InitApply(_) => false,
    }
}

/// Whether a watch fails only because the API server no longer knows how things were. The watcher
/// then lists anew, and nothing is lost.
pub(crate) fn begins_anew(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchError(status) if status.code == GONE)
}

fn hint(error: &watcher::Error) -> &'static str {
    let (watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) =
        error
    else {
        return "";
    };
    match error {
        kube::Error::Api(status) if status.code == 404 => {
            "install the CRDs: kubectl apply -k manifests/"
        }
        kube::Error::Api(status) if status.code == 403 => {
            "grant get, list and watch on it to the ServiceAccount agentkube-manager: manifests/rbac.yaml does"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use kube::{Client, client::Body};
    use serde_json::json;
    use tokio::time::timeout;

    use super::*;
    use crate::{
        api::Agent,
        fake_api::{Api as FakeApi, Reply},
    };

    /// Pauses that begin with this one.
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

    /// What came of a watch within a second.
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

    /// Tried after 0, 20, 60, 140, 300 and 620 ms, and taken for a success by nobody.
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
}
