//! A list that is read page by page, and each page item by item.

use std::{io, pin::Pin};

use futures::{AsyncBufRead, AsyncBufReadExt};
use kube::{
    Api,
    api::ListParams,
    core::{ListMeta, Request},
};

use super::{
    Watched,
    split::{Part, Splitter, TooLong},
};

/// A list in progress.
pub(super) struct Listing {
    params: ListParams,
    page: Option<Page>,
    /// The version of the list, known after its last page.
    version: Option<String>,
}

/// One answer of the API server.
struct Page {
    body: Pin<Box<dyn AsyncBufRead + Send>>,
    splitter: Splitter,
    metadata: ListMeta,
}

/// The next step of a list.
pub(super) enum Step<K> {
    /// One of its objects.
    Object(K),
    /// The end of the list, with the version for the watch to continue from.
    Done {
        /// `metadata.resourceVersion`; empty if the API server gave none.
        version: String,
    },
}

impl Listing {
    pub(super) fn new(params: ListParams) -> Self {
        Self {
            params,
            page: None,
            version: None,
        }
    }

    /// The next object. Only one object is held at a time.
    pub(super) async fn next<K: Watched>(&mut self, api: &Api<K>) -> kube::Result<Step<K>> {
        loop {
            if let Some(version) = self.version.take() {
                return Ok(Step::Done { version });
            }
            if self.page.is_none() {
                self.page = Some(ask(api, &self.params).await?);
            }
            let Some(page) = &mut self.page else {
                continue;
            };
            if let Some(item) = page.next().await? {
                return serde_json::from_slice(&item)
                    .map(Step::Object)
                    .map_err(kube::Error::SerdeError);
            }
            let metadata = std::mem::take(&mut page.metadata);
            self.page = None;
            self.params.continue_token = metadata
                .continue_
                .filter(|token| !token.is_empty());
            if self.params.continue_token.is_none() {
                self.version = Some(
                    metadata
                        .resource_version
                        .unwrap_or_default(),
                );
            }
        }
    }
}

/// Requests one page.
async fn ask<K: Watched>(api: &Api<K>, params: &ListParams) -> kube::Result<Page> {
    let request = Request::new(api.resource_url())
        .list(params)
        .map_err(kube::Error::BuildRequest)?;
    let body = api
        .clone()
        .into_client()
        .request_stream(request)
        .await?;
    Ok(Page {
        body: Box::pin(body),
        splitter: Splitter::default(),
        metadata: ListMeta::default(),
    })
}

impl Page {
    /// The next item of this page, as JSON.
    async fn next(&mut self) -> kube::Result<Option<Vec<u8>>> {
        loop {
            let bytes = self
                .body
                .fill_buf()
                .await
                .map_err(failed)?;
            if bytes.is_empty() {
                return if self.splitter.is_done() {
                    Ok(None)
                } else {
                    Err(failed(io::ErrorKind::UnexpectedEof.into()))
                };
            }
            let (read, part) = self
                .splitter
                .push(bytes)
                .map_err(|TooLong| failed(io::Error::other("an item of the list is too long")))?;
            self.body.consume_unpin(read);
            match part {
                Some(Part::Item(item)) => return Ok(Some(item)),
                Some(Part::Metadata(metadata)) => {
                    self.metadata =
                        serde_json::from_slice(&metadata).map_err(kube::Error::SerdeError)?;
                }
                None => {}
            }
        }
    }
}

fn failed(error: io::Error) -> kube::Error {
    kube::Error::ReadEvents(error)
}
