use std::time::Duration;

use agentkube_playground::until;
use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Namespace as KubeNamespace;
use kube::{
    Api, Client, Error,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::{GroupVersionKind, Status},
};
use serde_json::{Value, json};

use super::{LIMIT, condition};

/// How long an object may take to go. The garbage collector looks for new kinds only every 30 s,
/// and what it did not know before it tries again at a falling pace.
const GONE_LIMIT: Duration = Duration::from_secs(120);

/// A namespace that one test has for itself.
#[derive(Clone)]
pub(crate) struct Namespace {
    pub(crate) client: Client,
    pub(crate) name: String,
}

impl Namespace {
    /// Objects of a kind, here.
    pub(crate) fn api(&self, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.name, &resource(kind))
    }

    /// Creates an object that the API server accepts.
    pub(crate) async fn create(&self, object: &Value) -> anyhow::Result<Value> {
        match self.try_create(object).await? {
            Ok(created) => Ok(created),
            Err(status) => bail!("refused: {}", status.message),
        }
    }

    /// Creates an object that the API server refuses.
    pub(crate) async fn refused(&self, object: &Value) -> anyhow::Result<Status> {
        match self.try_create(object).await? {
            Ok(created) => bail!("accepted: {created}"),
            Err(status) => Ok(status),
        }
    }

    pub(crate) async fn try_create(&self, object: &Value) -> anyhow::Result<Result<Value, Status>> {
        let kind = object["kind"]
            .as_str()
            .context("the object has a kind")?;
        let mut object = object.clone();
        object["metadata"]["namespace"] = json!(self.name);
        let object: DynamicObject = serde_json::from_value(object)?;
        match self
            .api(kind)
            .create(&PostParams::default(), &object)
            .await
        {
            Ok(created) => Ok(Ok(serde_json::to_value(created)?)),
            Err(Error::Api(status)) => Ok(Err(*status)),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn get(&self, kind: &str, name: &str) -> anyhow::Result<Option<Value>> {
        let object = self.api(kind).get_opt(name).await?;
        Ok(object
            .map(serde_json::to_value)
            .transpose()?)
    }

    /// Changes an object by a merge patch.
    pub(crate) async fn patch(
        &self,
        kind: &str,
        name: &str,
        patch: &Value,
    ) -> kube::Result<DynamicObject> {
        self.api(kind)
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
    }

    pub(crate) async fn delete(&self, kind: &str, name: &str) -> anyhow::Result<()> {
        let now = DeleteParams {
            grace_period_seconds: Some(0),
            ..DeleteParams::default()
        };
        self.api(kind)
            .delete(name, &now)
            .await?;
        Ok(())
    }

    /// Waits until an object is as `wanted` says, and returns it. The error shows how it was last.
    pub(crate) async fn wait(
        &self,
        kind: &str,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let mut last = None;
        let found = until(&format!("{kind} {name} {what}"), LIMIT, async || {
            last = self.get(kind, name).await?;
            Ok(last.clone().filter(&wanted))
        })
        .await;
        found.with_context(|| match &mut last {
            None => "it does not exist".to_owned(),
            Some(last) => {
                last["metadata"]["managedFields"] = Value::Null;
                format!("last seen: {last}")
            }
        })
    }

    /// Waits until an Agent runs.
    pub(crate) async fn wait_running(&self, agent: &str) -> anyhow::Result<Value> {
        self.wait("Agent", agent, "to run", |agent| {
            agent["status"]["phase"] == "Running"
                && agent["status"]["ready"] == "1/1"
                && agent["status"]["observedGeneration"] == agent["metadata"]["generation"]
        })
        .await
    }

    /// Waits until an Agent or a Tool is or is not ready for this reason, and returns it.
    pub(crate) async fn wait_ready(
        &self,
        kind: &str,
        name: &str,
        reason: &str,
    ) -> anyhow::Result<Value> {
        let what = format!("to say {reason}");
        self.wait(kind, name, &what, |object| {
            condition(object, "Ready")["reason"] == reason
                && condition(object, "Ready")["observedGeneration"]
                    == object["metadata"]["generation"]
        })
        .await
    }

    /// Waits for an Event about an object here, and returns it. The error shows the others.
    pub(crate) async fn wait_event(&self, name: &str, reason: &str) -> anyhow::Result<Value> {
        let mut last = Vec::new();
        let found = until(
            &format!("an Event {reason} about {name}"),
            LIMIT,
            async || {
                last = self.list("Event", "").await?;
                let event = last
                    .iter()
                    .find(|event| event["regarding"]["name"] == name && event["reason"] == reason);
                Ok(event.cloned())
            },
        )
        .await;
        found.with_context(|| format!("last seen: {last:?}"))
    }

    /// The objects of a kind, here, that a label selector selects.
    pub(crate) async fn list(&self, kind: &str, labels: &str) -> anyhow::Result<Vec<Value>> {
        let objects = self
            .api(kind)
            .list(&ListParams::default().labels(labels))
            .await?;
        objects
            .items
            .into_iter()
            .map(|object| Ok(serde_json::to_value(object)?))
            .collect()
    }

    /// How many objects of a kind there are, here. It costs the API server as much as one of them, so that
    /// who waits for thousands takes nothing from those who work on them.
    pub(crate) async fn count(&self, kind: &str) -> anyhow::Result<usize> {
        let first = self
            .api(kind)
            .list_metadata(&ListParams::default().limit(1))
            .await?;
        let rest = first
            .metadata
            .remaining_item_count
            .unwrap_or_default();
        Ok(first.items.len() + usize::try_from(rest)?)
    }

    /// Deletes the namespace, and waits until it is gone.
    pub(crate) async fn delete_all(&self) -> anyhow::Result<()> {
        self.delete_all_within(GONE_LIMIT).await
    }

    /// Deletes the namespace with a crowd in it, and waits until it is gone.
    pub(crate) async fn delete_all_within(&self, limit: Duration) -> anyhow::Result<()> {
        let namespaces: Api<KubeNamespace> = Api::all(self.client.clone());
        namespaces
            .delete(&self.name, &DeleteParams::default())
            .await?;
        let mut last = None;
        let gone = until(&format!("{} to go", self.name), limit, async || {
            last = namespaces.get_opt(&self.name).await?;
            Ok(last.is_none().then_some(()))
        })
        .await;
        gone.with_context(|| format!("last seen: {last:?}"))
    }

    /// Waits until an object is gone.
    pub(crate) async fn wait_gone(&self, kind: &str, name: &str) -> anyhow::Result<()> {
        until(&format!("{kind} {name} to go"), GONE_LIMIT, async || {
            Ok(self
                .get(kind, name)
                .await?
                .is_none()
                .then_some(()))
        })
        .await
    }
}

/// The kinds that tests speak of.
fn resource(kind: &str) -> ApiResource {
    let (group, version, plural) = match kind {
        "Agent" => ("agentkube.io", "v1alpha1", "agents"),
        "ConfigMap" => ("", "v1", "configmaps"),
        "Event" => ("events.k8s.io", "v1", "events"),
        "Pod" => ("", "v1", "pods"),
        "Rejection" => ("agentkube.io", "v1alpha1", "rejections"),
        "ResourceQuota" => ("", "v1", "resourcequotas"),
        "Role" => ("rbac.authorization.k8s.io", "v1", "roles"),
        "RoleBinding" => ("rbac.authorization.k8s.io", "v1", "rolebindings"),
        "Secret" => ("", "v1", "secrets"),
        "ServiceAccount" => ("", "v1", "serviceaccounts"),
        "Tool" => ("agentkube.io", "v1alpha1", "tools"),
        kind => unreachable!("a test speaks of {kind}"),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}
