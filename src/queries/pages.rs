//! The objects of a kind, page by page.

use std::marker::PhantomData;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::{
    Client, Resource,
    api::{ApiResource, DynamicObject, ListParams},
    core::{Request, Status},
};
use serde::{Deserialize, de::DeserializeOwned};
use thiserror::Error;

use crate::api::GROUP;

/// Objects per page of a list.
pub(crate) const PAGE: u32 = 500;

/// Lists all objects of a kind, in all namespaces. RBAC: `list` on them.
///
/// # Errors
///
/// The API server's refusal, in its words.
pub(crate) async fn list<K>(client: &Client) -> Result<Vec<K>, UnreadableList>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let mut pages = Pages::<K>::new(client, ApiResource::erase::<K>(&()), None, PAGE);
    let mut objects = Vec::new();
    while let Some(page) = pages.next().await? {
        objects.extend(page.items);
    }
    Ok(objects)
}

/// A list that cannot be read.
#[derive(Debug, Error)]
#[error("the list of {plural} cannot be read")]
pub(crate) struct UnreadableList {
    /// The resource in the plural: `pods`.
    plural: String,
    source: WhyUnreadable,
}

#[derive(Debug, Error)]
enum WhyUnreadable {
    /// The user may not list the resource.
    #[error(
        "{message} (hint: this needs the verb list on {resource}; see `kubectl auth can-i --list`)"
    )]
    Forbidden { message: String, resource: String },
    /// The CRD is not installed.
    #[error(
        "the cluster serves no {0} (hint: install agentkube, or its CRDs alone: `agentkube crds | kubectl apply -f -`)"
    )]
    NotServed(String),
    /// Any other refusal, in the API server's words.
    #[error("{0}")]
    Refused(String),
    /// The API server was not reached, or its answer cannot be read.
    #[error(transparent)]
    Unanswered(kube::Error),
}

/// The objects of a kind, page by page, so that thousands need little memory.
pub(crate) struct Pages<'c, K> {
    client: &'c Client,
    kind: ApiResource,
    request: Request,
    /// The parameters of the next request; `None` after the last page.
    parameters: Option<ListParams>,
    items: PhantomData<K>,
}

/// One page of objects.
#[derive(Debug, Deserialize)]
pub(crate) struct Page<K> {
    metadata: ListMeta,
    pub(crate) items: Vec<K>,
}

impl<K> Page<K> {
    /// The number of remaining objects, according to the API server.
    pub(crate) fn remaining(&self) -> usize {
        self.metadata
            .remaining_item_count
            .and_then(|count| count.try_into().ok())
            .unwrap_or_default()
    }
}

impl<'c, K: DeserializeOwned> Pages<'c, K> {
    /// The objects of one namespace, or else of all, `size` per page. RBAC: `list` on them.
    pub(crate) fn new(
        client: &'c Client,
        kind: ApiResource,
        namespace: Option<&str>,
        size: u32,
    ) -> Self {
        Self {
            client,
            request: Request::new(DynamicObject::url_path(&kind, namespace)),
            kind,
            parameters: Some(ListParams::default().limit(size)),
            items: PhantomData,
        }
    }

    /// Reads the next page; `None` after the last.
    ///
    /// # Errors
    ///
    /// The API server's refusal, in its words.
    pub(crate) async fn next(&mut self) -> Result<Option<Page<K>>, UnreadableList> {
        let Some(parameters) = self.parameters.take() else {
            return Ok(None);
        };
        let page = match self.read(&parameters).await {
            // The continue token has expired. The API server offers to continue from the same place with
            // the current objects, which is sufficient here.
            Err(kube::Error::Api(status)) if status.code == 410 => match offered(&status) {
                Some(token) => {
                    self.read(&parameters.clone().continue_token(token))
                        .await
                }
                None => Err(kube::Error::Api(status)),
            },
            answer => answer,
        };
        let page = page.map_err(|error| self.explain(error))?;
        self.parameters = page
            .metadata
            .continue_
            .as_deref()
            .filter(|token| !token.is_empty())
            .map(|token| parameters.continue_token(token));
        Ok(Some(page))
    }

    async fn read(&self, parameters: &ListParams) -> kube::Result<Page<K>> {
        let request = self
            .request
            .list(parameters)
            .map_err(kube::Error::BuildRequest)?;
        self.client.request(request).await
    }

    fn explain(&self, error: kube::Error) -> UnreadableList {
        let ApiResource { group, plural, .. } = &self.kind;
        let name = || {
            let name = format!("{plural}.{group}");
            name.trim_end_matches('.').to_owned()
        };
        let source = match error {
            kube::Error::Api(status) if status.code == 404 && group == GROUP => {
                WhyUnreadable::NotServed(name())
            }
            kube::Error::Api(status) if status.code == 403 => WhyUnreadable::Forbidden {
                message: status.message.clone(),
                resource: name(),
            },
            kube::Error::Api(status) => WhyUnreadable::Refused(status.message.clone()),
            error => WhyUnreadable::Unanswered(error),
        };
        UnreadableList {
            plural: plural.clone(),
            source,
        }
    }
}

/// The token with which an expired list can be continued.
fn offered(status: &Status) -> Option<&str> {
    status
        .metadata
        .as_ref()?
        .continue_
        .as_deref()
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{Arc, Mutex},
    };

    use k8s_openapi::api::core::v1::Pod;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::Agent;

    /// Lists pods by these answers, one after the other; returns the names, and what was asked.
    async fn names(
        answers: Vec<(u16, Value)>,
    ) -> (Result<Vec<String>, UnreadableList>, Vec<String>) {
        names_of(ApiResource::erase::<Pod>(&()), answers).await
    }

    async fn names_of(
        kind: ApiResource,
        answers: Vec<(u16, Value)>,
    ) -> (Result<Vec<String>, UnreadableList>, Vec<String>) {
        let answers = Arc::new(Mutex::new(answers.into_iter()));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            log.lock()
                .unwrap()
                .push(request.uri().to_string());
            let (code, body) = answers.lock().unwrap().next().unwrap();
            let response = http::Response::builder()
                .status(code)
                .body(Body::from(serde_json::to_vec(&body).unwrap()));
            async move { Ok::<_, Infallible>(response.unwrap()) }
        });
        let client = Client::new(service, "default");
        let mut pages = Pages::<Value>::new(&client, kind, Some("adaptive"), 2);
        let mut names = Vec::new();
        let names = loop {
            match pages.next().await {
                Ok(Some(page)) => names.extend(page.items.iter().map(|pod| {
                    pod["metadata"]["name"]
                        .as_str()
                        .unwrap()
                        .to_owned()
                })),
                Ok(None) => break Ok(names),
                Err(error) => break Err(error),
            }
        };
        let asked = asked.lock().unwrap().clone();
        (names, asked)
    }

    fn page(names: &[&str], token: &str) -> (u16, Value) {
        let items: Vec<_> = names
            .iter()
            .map(|name| json!({"metadata": {"name": name}}))
            .collect();
        let list = json!({"metadata": {"continue": token}, "items": items});
        (200, list)
    }

    fn failure(code: u16, message: &str, token: &str) -> (u16, Value) {
        let status = json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code,
            "message": message, "metadata": {"continue": token},
        });
        (code, status)
    }

    #[tokio::test]
    async fn a_list_is_read_page_by_page() {
        let (names, asked) = names(vec![page(&["a", "b"], "next"), page(&["c"], "")]).await;
        assert_eq!(names.unwrap(), ["a", "b", "c"]);
        assert_eq!(
            asked,
            [
                "/api/v1/namespaces/adaptive/pods?&limit=2",
                "/api/v1/namespaces/adaptive/pods?&limit=2&continue=next",
            ]
        );
    }

    #[tokio::test]
    async fn a_list_that_has_become_too_old_goes_on_where_it_was() {
        let gone = failure(410, "The provided continue parameter is too old", "fresh");
        let (names, asked) = names(vec![page(&["a"], "old"), gone, page(&["b"], "")]).await;
        assert_eq!(names.unwrap(), ["a", "b"]);
        assert!(asked[2].ends_with("continue=fresh"), "{asked:?}");
    }

    #[tokio::test]
    async fn a_refusal_names_the_right_that_is_missing() {
        let forbidden = failure(403, "pods is forbidden: User \"me\" cannot list", "");
        let (names, _) = names(vec![forbidden]).await;
        assert_eq!(
            format!("{:#}", anyhow::Error::new(names.unwrap_err())),
            "the list of pods cannot be read: pods is forbidden: User \"me\" cannot list \
             (hint: this needs the verb list on pods; see `kubectl auth can-i --list`)"
        );
    }

    #[tokio::test]
    async fn a_cluster_without_the_crds_is_told_from_one_without_agents() {
        let missing = failure(404, "the server could not find the requested resource", "");
        let (names, _) = names_of(ApiResource::erase::<Agent>(&()), vec![missing]).await;
        assert_eq!(
            format!("{:#}", anyhow::Error::new(names.unwrap_err())),
            "the list of agents cannot be read: the cluster serves no agents.agentkube.io \
             (hint: install agentkube, or its CRDs alone: `agentkube crds | kubectl apply -f -`)"
        );
    }
}
