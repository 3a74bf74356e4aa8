mod pauses;

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures::{Stream, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Client, ResourceExt,
    client::Body,
    runtime::watcher::{Config, Event},
};
use serde_json::json;

use super::*;

type Answer = UnsyncBoxBody<Bytes, Infallible>;

/// An API server that plays one answer after the other and records the requests.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn answer(&self, body: Vec<u8>) {
        self.answer_with(Full::from(body));
    }

    fn answer_with(
        &self,
        body: impl hyper::body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
    ) {
        self.answers
            .lock()
            .unwrap()
            .push_back(body.boxed_unsync());
    }

    fn api(&self) -> Api<ConfigMap> {
        let script = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let query = request
                .uri()
                .query()
                .unwrap_or_default();
            script
                .asked
                .lock()
                .unwrap()
                .push(query.to_owned());
            let body = script
                .answers
                .lock()
                .unwrap()
                .pop_front();
            let response = Response::new(body.expect("an answer"));
            async { Ok::<_, Infallible>(response) }
        });
        Api::all(Client::new(service, "default"))
    }
}

fn object(name: &str, version: &str) -> serde_json::Value {
    json!({"metadata": {"name": name, "namespace": "team", "resourceVersion": version}})
}

fn page(names: &[&str], next: &str) -> Vec<u8> {
    let items: Vec<_> = names
        .iter()
        .map(|name| object(name, "1"))
        .collect();
    let metadata = json!({"resourceVersion": "10", "continue": next});
    json!({"kind": "List", "metadata": metadata, "items": items})
        .to_string()
        .into_bytes()
}

fn lines(events: &[serde_json::Value]) -> Vec<u8> {
    events
        .iter()
        .flat_map(|event| [event.to_string(), "\n".to_owned()])
        .collect::<String>()
        .into_bytes()
}

/// An event in a word and a name.
fn told(event: Result<Event<ConfigMap>, watcher::Error>) -> String {
    match event {
        Ok(Event::Init) => "init".to_owned(),
        Ok(Event::InitApply(object)) => format!("listed {}", object.name_any()),
        Ok(Event::InitDone) => "done".to_owned(),
        Ok(Event::Apply(object)) => format!("applied {}", object.name_any()),
        Ok(Event::Delete(object)) => format!("deleted {}", object.name_any()),
        Err(error) => format!("failed: {error}"),
    }
}

async fn first(script: &Script, count: usize) -> Vec<String> {
    let config = Config::default()
        .page_size(2)
        .labels("a=b");
    events::events(script.api(), config)
        .take(count)
        .map(told)
        .collect()
        .await
}

#[tokio::test]
async fn a_watch_goes_on_from_the_last_page_of_its_list() {
    let script = Script::default();
    script.answer(page(&["a", "b"], "more"));
    script.answer(page(&["c"], ""));
    script.answer(lines(&[
        json!({"type": "ADDED", "object": object("d", "11")}),
        json!({"type": "BOOKMARK", "object": {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": "12"}}}),
        json!({"type": "DELETED", "object": object("a", "13")}),
    ]));
    script.answer(lines(&[
        json!({"type": "MODIFIED", "object": object("b", "14")}),
    ]));
    assert_eq!(
        first(&script, 8).await,
        [
            "init",
            "listed a",
            "listed b",
            "listed c",
            "done",
            "applied d",
            "deleted a",
            "applied b"
        ]
    );
    let asked = script.asked.lock().unwrap();
    assert_eq!(asked[0], "&labelSelector=a%3Db&limit=2");
    assert!(asked[1].contains("continue=more"), "{asked:?}");
    assert!(asked[2].contains("resourceVersion=10"), "{asked:?}");
    assert!(asked[3].contains("resourceVersion=13"), "{asked:?}");
}

#[tokio::test]
async fn a_watch_that_is_too_old_begins_anew() {
    let script = Script::default();
    script.answer(page(&["a"], ""));
    script.answer(lines(&[
        json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old", "reason": "Expired", "status": "Failure"}}),
    ]));
    script.answer(page(&["b"], ""));
    let told = first(&script, 7).await;
    assert!(told[3].starts_with("failed: "), "{told:?}");
    assert_eq!(told[4..], ["init", "listed b", "done"]);
}

#[tokio::test]
async fn a_list_that_breaks_off_begins_anew() {
    let script = Script::default();
    let whole = page(&["a", "b"], "");
    script.answer(whole[..whole.len() / 2].to_vec());
    script.answer(whole);
    let told = first(&script, 7).await;
    assert_eq!(told[..2], ["init", "listed a"]);
    assert!(told[2].starts_with("failed: "), "{told:?}");
    assert_eq!(told[3..], ["init", "listed a", "listed b", "done"]);
}

/// A page of many large objects that counts the bytes taken from it.
fn large_page(objects: usize, bytes: usize, taken: Arc<AtomicUsize>) -> impl Stream<Item = Bytes> {
    let head = Bytes::from_static(br#"{"metadata":{"resourceVersion":"10"},"items":["#);
    let text = "x".repeat(bytes);
    let items = (0..objects).map(move |number| {
        let comma = if number == 0 { "" } else { "," };
        let object = json!({"metadata": {"name": number.to_string()}, "data": {"text": text}});
        Bytes::from(format!("{comma}{object}"))
    });
    let parts = std::iter::once(head)
        .chain(items)
        .chain([Bytes::from_static(b"]}")]);
    stream::iter(parts).inspect(move |part| {
        taken.fetch_add(part.len(), Ordering::Relaxed);
    })
}

#[tokio::test]
async fn of_a_page_of_large_objects_one_is_held_at_a_time() {
    const BYTES: usize = 1024 * 1024;
    let taken = Arc::new(AtomicUsize::new(0));
    let parts = large_page(100, BYTES, Arc::clone(&taken))
        .map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
    let script = Script::default();
    script.answer_with(StreamBody::new(parts));
    let mut events = events::events(script.api(), Config::default()).boxed();
    let mut seen = 0;
    while let Some(Ok(event)) = events.next().await {
        match event {
            Event::InitApply(_) => seen += 1,
            Event::InitDone => break,
            _ => {}
        }
        let ahead = taken.load(Ordering::Relaxed) - seen * BYTES;
        assert!(
            ahead < 2 * BYTES,
            "{ahead} bytes are read ahead after {seen}"
        );
    }
    assert_eq!(seen, 100);
}
