//! A watch that never gives up, and logs a failure only once.

mod events;
mod listing;
mod split;
mod unreadable;

pub(crate) use unreadable::UnreadableObjects;
pub(crate) use unreadable::{COUNTED_KINDS, MaybeUnreadable, Unreadable, why_unreadable};

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

/// HTTP 410 Gone: the resource version is too old.
const GONE: u16 = 410;

/// The pause when the backoff yields none.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The number of objects per page. The API server holds a whole page, this process one object.
const PAGE: u32 = 100;

/// An object that can be watched.
pub(crate) trait Watched:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static
{
}

/// Every object of a kind, listed in small pages.
pub(crate) fn everything() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

/// Only the object of this name.
pub(crate) fn named(name: &str) -> watcher::Config {
    watcher::Config::default().fields(&format!("metadata.name={name}"))
}

/// Passes every event of a watch to `on_event`, after `trim` has dropped the fields that are not
/// needed. Runs until it is dropped.
///
/// RBAC: `list`, `watch` on the kind.
pub(crate) async fn follow<K: Watched>(
    api: Api<K>,
    config: watcher::Config,
    trim: fn(&mut K),
    mut on_event: impl FnMut(Event<K>),
) {
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
            Err(error) if begins_anew(&error) => {
                debug!(%kind, "the watch restarts with a new list");
            }
            // It is retried; one log line is enough.
            Err(error) if !is_failing => {
                is_failing = true;
                warn!(%kind, %error, hint = hint(&error), "the watch failed and is retried");
            }
            Err(_) => {}
        }
    }
}

/// The events of a watch that is retried whenever it fails, with growing pauses. The pauses are
/// only reset once the watch has worked: every list begins with an [`Event::Init`], and it may
/// still fail at its last page.
///
/// RBAC: `list`, `watch` on the kind.
pub(crate) fn events<K: Watched>(
    api: Api<K>,
    config: watcher::Config,
) -> BoxStream<'static, watcher::Result<Event<K>>> {
    with_pauses(api, config, DefaultBackoff::default())
}

fn with_pauses<K: Watched>(
    api: Api<K>,
    config: watcher::Config,
    backoff: impl Backoff + 'static,
) -> BoxStream<'static, watcher::Result<Event<K>>> {
    let start = (events::events(api, config).boxed(), backoff, None);
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

/// True if the event shows that the watch works, not only that it is tried.
fn succeeds<K>(event: &Event<K>) -> bool {
    match event {
        Event::Apply(_) | Event::Delete(_) | Event::InitDone => true,
        Event::Init | Event::InitApply(_) => false,
    }
}

/// True if a watch only failed because its resource version is too old. The watcher then lists
/// again, and nothing is lost.
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
mod tests;
