//! When the API server asks about references by itself: a policy is followed a moment after it was applied.

use std::time::Duration;

use anyhow::Context;
use kube::{
    Api, Client, Config, Error,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams,
    },
};
use serde_json::{Value, json};

use crate::{objects::FIELD_MANAGER, wait::until};

/// How long the API server may take to follow.
const LIMIT: Duration = Duration::from_secs(30);

/// Somebody who may write Agents and Tools, and nothing else.
const AUTHOR: &str = "playground-author";

/// Waits until an author is refused what they have no right to name, in an Agent and in a Tool. Webhooks must not be
/// in the way.
pub(crate) async fn until_asked(config: &Config) -> anyhow::Result<()> {
    let admin = Client::try_from(config.clone())?;
    let binding = resource(
        "rbac.authorization.k8s.io",
        "v1",
        "RoleBinding",
        "rolebindings",
    );
    let bindings: Api<DynamicObject> = Api::default_namespaced_with(admin, &binding);
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": AUTHOR},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "agentkube-edit"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": AUTHOR}],
    });
    bindings
        .create(&PostParams::default(), &serde_json::from_value(role)?)
        .await
        .context("cannot give an author their role")?;
    let mut impersonating = config.clone();
    impersonating.auth_info.impersonate = Some(AUTHOR.to_owned());
    let author = Client::try_from(impersonating)?;
    let outcome = until_refused(&author).await;
    bindings
        .delete(AUTHOR, &DeleteParams::default())
        .await?;
    outcome
}

async fn until_refused(author: &Client) -> anyhow::Result<()> {
    let reference = json!({"name": "token", "key": "key"});
    let token = json!({"runtime": "Codex", "agentToken": {"secretRef": reference}});
    let credentials = json!({"type": "postgres", "config": {"credentialsRef": reference}});
    let mut last = String::new();
    let refused = until("the policies to be followed", LIMIT, async || {
        for (kind, plural, spec) in [("Agent", "agents", &token), ("Tool", "tools", &credentials)] {
            last = answer(author, kind, plural, spec).await;
            if !last.contains("ValidatingAdmissionPolicy") {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await;
    refused.with_context(|| format!("the last answer was: {last}"))
}

/// What an author is told who names a Secret. Nothing is created.
async fn answer(author: &Client, kind: &str, plural: &str, spec: &Value) -> String {
    let resource = resource("agentkube.io", "v1alpha1", kind, plural);
    let mut object = DynamicObject::new("playground-probe", &resource);
    object.data = json!({"spec": spec});
    let dry_run = PatchParams {
        dry_run: true,
        ..PatchParams::apply(FIELD_MANAGER)
    };
    let answer = Api::<DynamicObject>::default_namespaced_with(author.clone(), &resource)
        .patch("playground-probe", &dry_run, &Patch::Apply(&object))
        .await;
    match answer {
        Ok(_) => format!("the {kind} was accepted"),
        Err(Error::Api(status)) => status.message,
        Err(error) => error.to_string(),
    }
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}
