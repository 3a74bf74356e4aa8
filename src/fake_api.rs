//! An API server for unit tests.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::{Request, Response};
use kube::{Client, client::Body};
use serde_json::{Value, json};

/// An API server that answers as it was told, and remembers what it was asked.
#[derive(Clone, Default)]
pub(crate) struct Api {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    replies: Vec<(&'static str, &'static str, Reply)>,
    requests: Vec<(String, String, Value)>,
}

#[derive(Clone)]
pub(crate) struct Reply {
    code: u16,
    body: Value,
}

impl Reply {
    pub(crate) fn ok(body: Value) -> Self {
        Self { code: 200, body }
    }

    pub(crate) fn error(code: u16, reason: &str, message: &str) -> Self {
        let body = json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure",
            "code": code, "reason": reason, "message": message,
        });
        Self { code, body }
    }
}

impl Api {
    /// Answers requests of `method` whose path contains `path`; the latest rule counts.
    pub(crate) fn on(&self, method: &'static str, path: &'static str, reply: Reply) {
        let mut state = self.state.lock().unwrap();
        state
            .replies
            .insert(0, (method, path, reply));
    }

    pub(crate) fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let reply = api.answer(head.method.as_str(), head.uri.path(), body);
                let bytes = serde_json::to_vec(&reply.body).unwrap();
                let response = Response::builder()
                    .status(reply.code)
                    .body(Body::from(bytes))
                    .unwrap();
                Ok::<_, Infallible>(response)
            }
        });
        Client::new(service, "default")
    }

    /// The body of the last such request.
    pub(crate) fn request(&self, method: &str, path: &str) -> Value {
        let state = self.state.lock().unwrap();
        let found = state
            .requests
            .iter()
            .rev()
            .find(|(asked, at, _)| asked == method && at.contains(path));
        let Some((_, _, body)) = found else {
            panic!("no {method} {path} among {:?}", state.requests)
        };
        body.clone()
    }

    pub(crate) fn count(&self, method: &str, path: &str) -> usize {
        let state = self.state.lock().unwrap();
        state
            .requests
            .iter()
            .filter(|(asked, at, _)| asked == method && at.contains(path))
            .count()
    }

    pub(crate) fn total(&self) -> usize {
        self.state
            .lock()
            .unwrap()
            .requests
            .len()
    }

    fn answer(&self, method: &str, path: &str, body: Value) -> Reply {
        let mut state = self.state.lock().unwrap();
        let reply = state
            .replies
            .iter()
            .find(|(asked, at, _)| *asked == method && path.contains(at))
            .map_or_else(
                || Reply::error(501, "NotImplemented", "the test did not expect this"),
                |(_, _, reply)| reply.clone(),
            );
        state
            .requests
            .push((method.to_owned(), path.to_owned(), body));
        reply
    }
}
