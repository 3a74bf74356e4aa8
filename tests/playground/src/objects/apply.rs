//! Applying manifests, and what the API server says to each.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{
    Api, Client, ResourceExt,
    api::ListParams,
    core::{Status, response::StatusDetails},
};
use serde::Serialize;
use serde_json::json;

use crate::{
    objects::{applier::Applier, manifests::Manifest},
    talk,
    wait::until,
};

/// How long a new namespace may take to be usable.
const LIMIT: Duration = Duration::from_secs(30);

/// What became of manifests.
#[derive(Debug, Default)]
pub struct Applied {
    /// What was refused, in the order of application.
    pub rejected: Vec<Rejected>,
    /// The warnings, in the order of application.
    pub warnings: Vec<Warning>,
}

/// An object that the API server refused.
#[derive(Clone, Debug, Serialize)]
pub struct Rejected {
    /// Where it was read from.
    pub file: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace; `None` for what has none.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The HTTP status code.
    pub code: u16,
    /// The first cause's reason, or the reason of the whole answer where there are no causes.
    pub reason: String,
    /// The message of the answer.
    pub message: String,
    /// What kubectl would have printed.
    #[serde(skip)]
    pub printed: String,
}

/// A `Warning:` line, as kubectl would print it.
#[derive(Clone, Debug)]
pub struct Warning {
    /// Kind, namespace and name of the object that was applied.
    pub object: String,
    /// The text of the header.
    pub text: String,
}

/// Applies manifests in the order in which they need each other: namespaces, what configures, Tools, Agents, everything else.
///
/// An object that names no namespace goes to `default`. A namespace that is named but missing is created, and talked about.
///
/// # Errors
///
/// The API server does not answer. What it refuses is no error.
pub async fn apply(client: &Client, mut manifests: Vec<Manifest>) -> anyhow::Result<Applied> {
    manifests.sort_by_key(|manifest| rank(&manifest.kind));
    let mut applier = Applier::new(client.clone());
    create_missing_namespaces(client, &mut applier, &manifests).await?;
    let mut outcome = Applied::default();
    for manifest in &manifests {
        let answer = applier
            .create_or_apply(manifest)
            .await?;
        let namespace = answer.namespace.as_deref();
        let object = shown(&manifest.kind, namespace, &manifest.name);
        let warnings = answer.warnings.into_iter();
        outcome
            .warnings
            .extend(warnings.map(|text| Warning {
                object: object.clone(),
                text,
            }));
        if let Err(status) = answer.result {
            let rejected = Rejected::new(manifest, answer.namespace, &status);
            outcome.rejected.push(rejected);
        } else if manifest.kind == "Namespace" {
            until_usable(client, &manifest.name).await?;
        }
    }
    Ok(outcome)
}

impl Rejected {
    fn new(manifest: &Manifest, namespace: Option<String>, status: &Status) -> Self {
        let cause = status
            .details
            .iter()
            .flat_map(|details| &details.causes)
            .map(|cause| &cause.reason)
            .find(|reason| !reason.is_empty());
        Self {
            file: manifest.file.display().to_string(),
            kind: manifest.kind.clone(),
            namespace,
            name: manifest.name.clone(),
            code: status.code,
            reason: cause.unwrap_or(&status.reason).clone(),
            message: status.message.clone(),
            printed: as_kubectl_prints(status),
        }
    }

    /// Whether agentkube's webhooks refused it, and not a schema or the API server itself.
    pub(crate) fn is_by_admission(&self) -> bool {
        matches!(self.code, 403 | 422)
            && self.namespace.is_some()
            && self
                .reason
                .starts_with(char::is_uppercase)
            && !self.reason.starts_with("FieldValue")
            && !matches!(self.reason.as_str(), "Forbidden" | "Invalid")
    }

    /// Kind, namespace and name.
    #[must_use]
    pub fn object(&self) -> String {
        shown(&self.kind, self.namespace.as_deref(), &self.name)
    }
}

fn shown(kind: &str, namespace: Option<&str>, name: &str) -> String {
    match namespace {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// Where a kind stands in the order of application. Sorting by it keeps the order of the files within a rank.
fn rank(kind: &str) -> u8 {
    match kind {
        "Namespace" => 0,
        "ClusterRole"
        | "ClusterRoleBinding"
        | "ConfigMap"
        | "CustomResourceDefinition"
        | "LimitRange"
        | "PriorityClass"
        | "ResourceQuota"
        | "Role"
        | "RoleBinding"
        | "RuntimeClass"
        | "Secret"
        | "ServiceAccount" => 1,
        "Tool" => 2,
        "Agent" => 3,
        _ => 4,
    }
}

async fn create_missing_namespaces(
    client: &Client,
    applier: &mut Applier,
    manifests: &[Manifest],
) -> anyhow::Result<()> {
    let existing = Api::<Namespace>::all(client.clone())
        .list(&ListParams::default())
        .await
        .context("cannot list namespaces")?;
    let mut there: Vec<_> = existing
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    let declared = manifests
        .iter()
        .filter(|manifest| manifest.kind == "Namespace");
    there.extend(declared.map(|manifest| manifest.name.clone()));
    for manifest in manifests {
        let Some(namespace) = &manifest.namespace else {
            continue;
        };
        if there.contains(namespace) {
            continue;
        }
        there.push(namespace.clone());
        let object = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": namespace},
        });
        let answer = applier
            .apply(&Manifest::new(&manifest.file, object)?)
            .await?;
        // If it was refused, so will be what should go there, with the reason.
        if answer.result.is_ok() {
            talk::say(format!(
                "created the namespace `{namespace}`, which no manifest declares"
            ));
            until_usable(client, namespace).await?;
        }
    }
    Ok(())
}

/// Waits until pods can be created in a namespace: the API server refuses them before there is an account for them.
async fn until_usable(client: &Client, namespace: &str) -> anyhow::Result<()> {
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    let what = format!("the ServiceAccount `default` of the namespace `{namespace}`");
    until(&what, LIMIT, async || {
        Ok(accounts
            .get_opt("default")
            .await?
            .map(|_| ()))
    })
    .await
}

/// `Invalid` with its causes and without its message, everything else with its message.
fn as_kubectl_prints(status: &Status) -> String {
    let (reason, message) = (&status.reason, &status.message);
    let details = match &status.details {
        Some(details) if reason == "Invalid" && !details.causes.is_empty() => details,
        _ => return format!("Error from server ({reason}): {message}"),
    };
    let StatusDetails { kind, name, .. } = details;
    let mut causes = Vec::new();
    for cause in &details.causes {
        let cause = format!("{}: {}", cause.field, cause.message);
        if !causes.contains(&cause) {
            causes.push(cause);
        }
    }
    match causes.as_slice() {
        [cause] => format!("The {kind} {name:?} is invalid: {cause}"),
        causes => format!("The {kind} {name:?} is invalid:\n* {}", causes.join("\n* ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::applier::refusal;

    #[test]
    fn the_first_reason_of_a_cause_counts() {
        let object = json!({"apiVersion": "agentkube.io/v1alpha1", "kind": "Agent", "metadata": {"name": "a"}});
        let manifest = Manifest::new("a.yaml".as_ref(), object).unwrap();
        let body = json!({
            "status": "Failure", "code": 422, "reason": "Invalid", "message": "denied",
            "details": {"kind": "Agent", "name": "a", "causes": [
                {"reason": "ImageRequired", "field": "spec.image", "message": "Required value"},
                {"reason": "InvalidSecretRef", "field": "spec.agentToken", "message": "Invalid value"},
            ]},
        });
        let status = refusal(422, body.to_string().as_bytes());
        let rejected = Rejected::new(&manifest, Some("b".to_owned()), &status);
        assert_eq!(rejected.reason, "ImageRequired");
        assert_eq!(rejected.object(), "Agent b/a");
        assert_eq!(
            rejected.printed,
            "The Agent \"a\" is invalid:\n* spec.image: Required value\n* spec.agentToken: Invalid value"
        );

        let rejected = Rejected::new(&manifest, None, &refusal(503, b"no webhook\n"));
        assert_eq!((rejected.code, rejected.reason.as_str()), (503, "Unknown"));
        assert_eq!(rejected.printed, "Error from server (Unknown): no webhook");
    }
}
