//! The audit trail, as the API server holds it.

use std::time::Duration;

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use serde_json::Value;

use crate::{objects::apply::Rejected, wait::until};

/// How long records may take: they are written off the path of requests.
const LIMIT: Duration = Duration::from_secs(10);

/// The Rejections of the cluster, once everything that admission refused has one, or after a while.
///
/// # Errors
///
/// The API server does not answer.
pub async fn rejections(client: &Client, rejected: &[Rejected]) -> anyhow::Result<Vec<Value>> {
    let kind = GroupVersionKind::gvk("agentkube.io", "v1alpha1", "Rejection");
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    let expected: Vec<_> = rejected
        .iter()
        .filter(|refusal| refusal.is_by_admission())
        .collect();
    let mut last = Vec::new();
    let started = tokio::time::Instant::now();
    let recorded = until("the Rejections to be written", LIMIT, async || {
        last = list(&api).await?;
        let all = expected.iter().all(|refusal| {
            last.iter()
                .any(|found| is_of(found, refusal))
        });
        Ok(all.then_some(()))
    })
    .await;
    match recorded {
        // In time, so that it is no mere delay.
        Err(error) if started.elapsed() < LIMIT => Err(error),
        _ => Ok(last),
    }
}

async fn list(api: &Api<DynamicObject>) -> anyhow::Result<Vec<Value>> {
    let found = api.list(&ListParams::default()).await?;
    found
        .items
        .into_iter()
        .map(|mut rejection| {
            rejection.metadata.managed_fields = None;
            Ok(serde_json::to_value(rejection)?)
        })
        .collect()
}

fn is_of(found: &Value, refusal: &Rejected) -> bool {
    let text = |pointer| {
        found
            .pointer(pointer)
            .and_then(Value::as_str)
    };
    text("/spec/object/kind") == Some(&refusal.kind)
        && text("/spec/object/name") == Some(&refusal.name)
        && text("/metadata/namespace") == refusal.namespace.as_deref()
}
