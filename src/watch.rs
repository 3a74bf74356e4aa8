//! A watch that goes on whatever happens, and says once that it fails.

mod events;
mod listing;
mod split;
mod unreadable;

pub use unreadable::UnreadableObjects;
pub(crate) use unreadable::{MaybeUnreadable, Unreadable};

use std::fmt::Debug;

use futures::StreamExt;
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use tracing::{debug, info, warn};

/// The code that an API server answers with where it no longer knows how things were.
const GONE: u16 = 410;

/// How many objects an API server is asked for at a time. It holds all of them, and here only one is held
/// whole.
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

/// One object alone, by its name.
pub(crate) fn named(name: &str) -> watcher::Config {
    watcher::Config::default().fields(&format!("metadata.name={name}"))
}

/// Hands every event of a watch to `on_event`, after `trim` has dropped what is not read; runs until
/// it is dropped.
///
/// RBAC: `list`, `watch` on the kind.
pub(crate) async fn follow<K: Watched>(
    api: Api<K>,
    config: watcher::Config,
    trim: fn(&mut K),
    mut on_event: impl FnMut(Event<K>),
) {
    let kind = K::kind(&());
    let mut events = events::events(api, config)
        .default_backoff()
        .modify(trim)
        .boxed();
    let mut is_failing = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if is_failing {
                    info!(%kind, "the watch has recovered");
                    is_failing = false;
                }
                on_event(event);
            }
            Err(error) if begins_anew(&error) => debug!(%kind, "the watch begins anew"),
            // The watcher retries by itself; once is enough to say so.
            Err(error) if !is_failing => {
                is_failing = true;
                warn!(%kind, %error, hint = hint(&error), "the watch fails, and is tried again");
            }
            Err(_) => {}
        }
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
mod tests;
