//! How requests are sent: each user on a connection of their own.

use anyhow::Context;
use http::{Method, Request, header};
use kube::{Client, Config};
use serde_json::{Value, json};

use super::moves::{Call, Move, Place, Verb};

/// A client of one namespace.
#[derive(Clone)]
pub(super) struct Hands {
    client: Client,
    namespace: String,
}

impl Hands {
    /// Acts as whoever the client is.
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
        }
    }

    /// Acts in a user's name.
    pub(super) fn of(user: &str, mut config: Config, namespace: &str) -> anyhow::Result<Self> {
        config.auth_info.impersonate = Some(user.to_owned());
        // Or the client itself would wait and try again.
        config.default_retry = false;
        Ok(Self::new(Client::try_from(config)?, namespace))
    }

    /// Does it, whatever comes of it. Says how many requests were sent.
    pub(super) async fn make(&self, what: &Move) -> usize {
        match what {
            Move::Send(call) => {
                let _ = self.send(call).await;
                1
            }
            Move::Replace(place, change) => {
                let Ok(mut object) = self.get(*place).await else {
                    return 1;
                };
                merge(&mut object, change);
                let _ = self
                    .request(Method::PUT, *place, "application/json", &object)
                    .await;
                2
            }
            Move::Claim(agent, pod) => {
                let place = Place {
                    api: "/apis/agentkube.io/v1alpha1",
                    resource: "agents",
                    name: agent,
                    subresource: "",
                };
                let Ok(agent) = self.get(place).await else {
                    return 1;
                };
                let mut pod = pod.clone();
                merge(&mut pod, &claim(&agent));
                let place = Place {
                    api: "/api/v1",
                    resource: "pods",
                    name: "",
                    subresource: "",
                };
                let _ = self
                    .request(Method::POST, place, "application/json", &pod)
                    .await;
                2
            }
        }
    }

    /// Sends a request.
    pub(super) async fn send(&self, call: &Call) -> kube::Result<Value> {
        let Call { verb, place, body } = call;
        let (method, content) = match verb {
            Verb::Apply => (Method::PATCH, "application/apply-patch+yaml"),
            Verb::Create => (Method::POST, "application/json"),
            Verb::Delete => (Method::DELETE, "application/json"),
            Verb::JsonPatch => (Method::PATCH, "application/json-patch+json"),
            Verb::MergePatch => (Method::PATCH, "application/merge-patch+json"),
            Verb::Strategic => (Method::PATCH, "application/strategic-merge-patch+json"),
        };
        let place = if *verb == Verb::Create {
            Place { name: "", ..*place }
        } else {
            *place
        };
        self.request(method, place, content, body)
            .await
    }

    /// Reads an object, or lists a resource where the name is empty.
    pub(super) async fn get(&self, place: Place) -> kube::Result<Value> {
        self.request(Method::GET, place, "application/json", &Value::Null)
            .await
    }

    /// Deletes an object at once, finalizers or not.
    pub(super) async fn remove(&self, place: Place, name: &str) {
        let now = json!({"gracePeriodSeconds": 0, "propagationPolicy": "Background"});
        let _ = self
            .request_of(name, Method::DELETE, place, "application/json", &now)
            .await;
        let free = json!({"metadata": {"finalizers": null}});
        let _ = self
            .request_of(
                name,
                Method::PATCH,
                place,
                "application/merge-patch+json",
                &free,
            )
            .await;
    }

    async fn request(
        &self,
        method: Method,
        place: Place,
        content: &str,
        body: &Value,
    ) -> kube::Result<Value> {
        self.request_of(place.name, method, place, content, body)
            .await
    }

    async fn request_of(
        &self,
        name: &str,
        method: Method,
        place: Place,
        content: &str,
        body: &Value,
    ) -> kube::Result<Value> {
        let Place {
            api,
            resource,
            subresource,
            name: _,
        } = place;
        let mut uri = format!("{api}/namespaces/{}/{resource}", self.namespace);
        for part in [name, subresource] {
            if !part.is_empty() {
                uri = format!("{uri}/{part}");
            }
        }
        if content.starts_with("application/apply") {
            uri += "?fieldManager=intruder&force=true";
        }
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::CONTENT_TYPE, content)
            .body(body)
            .map_err(kube::Error::HttpError)?;
        self.client.request(request).await
    }
}

/// What makes a pod say that this Agent controls it, as it is now.
fn claim(agent: &Value) -> Value {
    let metadata = |member: &str| {
        agent
            .pointer("/metadata")?
            .get(member)
            .cloned()
    };
    let generation = metadata("generation").unwrap_or_default();
    json!({"metadata": {
        "labels": {"agentkube.io/agent": metadata("name")},
        "annotations": {"agentkube.io/agent-generation": generation.to_string()},
        "ownerReferences": [{
            "apiVersion": "agentkube.io/v1alpha1", "kind": "Agent", "controller": true,
            "name": metadata("name"), "uid": metadata("uid"),
        }],
    }})
}

/// A JSON merge patch.
fn merge(object: &mut Value, change: &Value) {
    let Some(change) = change.as_object() else {
        *object = change.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    let Some(members) = object.as_object_mut() else {
        return;
    };
    for (name, value) in change {
        if value.is_null() {
            members.remove(name);
        } else {
            merge(
                members
                    .entry(name.clone())
                    .or_insert(Value::Null),
                value,
            );
        }
    }
}

/// Reads a list's items.
pub(super) fn items(list: &Value) -> anyhow::Result<&Vec<Value>> {
    list.get("items")
        .and_then(Value::as_array)
        .context("a list has items")
}
