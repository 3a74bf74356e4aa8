//! The events of a watch, as in `kube::runtime::watcher`, except that lists are read item by item:
//! a page of the largest objects would exceed a replica's memory.

use std::{future::Future, time::Duration};

use futures::{Stream, StreamExt, stream, stream::BoxStream};
use kube::{
    Api, ResourceExt,
    api::{ListParams, WatchParams},
    core::WatchEvent,
    runtime::watcher::{Config, Error, Event},
};
use tokio::time::timeout;

use super::{
    GONE, Watched,
    listing::{Listing, Step},
};

/// The time after which the API server ends a watch, in seconds.
const WATCH_SECONDS: u32 = 290;

/// The longest silence of a watch. After it the connection is considered broken.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 15);

/// The state of a watch.
enum State<K> {
    Start,
    Listing(Box<Listing>),
    Listed { version: String },
    Watching { version: String, events: Events<K> },
}

type Events<K> = BoxStream<'static, kube::Result<WatchEvent<K>>>;

/// The result of one step of a watch: at most one event or error.
type Told<K> = Option<Result<Event<K>, Error>>;

/// All events, without end. After an error the next poll tries again.
pub(super) fn events<K: Watched>(
    api: Api<K>,
    config: Config,
) -> impl Stream<Item = Result<Event<K>, Error>> + Send {
    stream::unfold((api, config, State::Start), |(api, config, state)| async {
        let mut state = state;
        loop {
            let (told, next) = step(&api, &config, state).await;
            state = next;
            if let Some(told) = told {
                return Some((told, (api, config, state)));
            }
        }
    })
}

async fn step<K: Watched>(api: &Api<K>, config: &Config, state: State<K>) -> (Told<K>, State<K>) {
    match state {
        State::Start => {
            let listing = Listing::new(list_params(config));
            (Some(Ok(Event::Init)), State::Listing(Box::new(listing)))
        }
        State::Listing(listing) => list(api, listing).await,
        State::Listed { version } => match api
            .watch(&watch_params(config), &version)
            .await
        {
            Ok(events) => {
                let events = events.boxed();
                (None, State::Watching { version, events })
            }
            Err(error) => {
                let error = Error::WatchStartFailed(error);
                (Some(Err(error)), State::Listed { version })
            }
        },
        State::Watching {
            version,
            mut events,
        } => {
            // A silent watch is treated like one that has ended.
            let event = in_time(events.next()).await;
            watch(event, version, events)
        }
    }
}

async fn list<K: Watched>(api: &Api<K>, mut listing: Box<Listing>) -> (Told<K>, State<K>) {
    match listing.next(api).await {
        Ok(Step::Object(object)) => (Some(Ok(Event::InitApply(object))), State::Listing(listing)),
        Ok(Step::Done { version }) if version.is_empty() => {
            (Some(Err(Error::NoResourceVersion)), State::Start)
        }
        Ok(Step::Done { version }) => (Some(Ok(Event::InitDone)), State::Listed { version }),
        Err(error) => (Some(Err(Error::InitialListFailed(error))), State::Start),
    }
}

fn watch<K: Watched>(
    event: Option<kube::Result<WatchEvent<K>>>,
    version: String,
    events: Events<K>,
) -> (Told<K>, State<K>) {
    match event {
        Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
            changed(object, Event::Apply, events)
        }
        Some(Ok(WatchEvent::Deleted(object))) => changed(object, Event::Delete, events),
        Some(Ok(WatchEvent::Bookmark(bookmark))) => {
            let version = bookmark.metadata.resource_version;
            (None, State::Watching { version, events })
        }
        Some(Ok(WatchEvent::Error(status))) => {
            let state = if status.code == GONE {
                State::Start
            } else {
                State::Watching { version, events }
            };
            (Some(Err(Error::WatchError(status))), state)
        }
        Some(Err(error)) => (
            Some(Err(Error::WatchFailed(error))),
            State::Watching { version, events },
        ),
        None => (None, State::Listed { version }),
    }
}

fn changed<K: Watched>(
    object: K,
    event: fn(K) -> Event<K>,
    events: Events<K>,
) -> (Told<K>, State<K>) {
    match object.resource_version() {
        Some(version) if !version.is_empty() => {
            (Some(Ok(event(object))), State::Watching { version, events })
        }
        _ => (Some(Err(Error::NoResourceVersion)), State::Start),
    }
}

async fn in_time<T>(next: impl Future<Output = Option<T>>) -> Option<T> {
    timeout(SILENCE, next)
        .await
        .ok()
        .flatten()
}

fn list_params(config: &Config) -> ListParams {
    ListParams {
        label_selector: config.label_selector.clone(),
        field_selector: config.field_selector.clone(),
        limit: config.page_size,
        ..ListParams::default()
    }
}

fn watch_params(config: &Config) -> WatchParams {
    WatchParams {
        label_selector: config.label_selector.clone(),
        field_selector: config.field_selector.clone(),
        timeout: Some(WATCH_SECONDS),
        bookmarks: true,
        send_initial_events: false,
    }
}
