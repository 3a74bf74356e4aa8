//! Applying manifests, and what the API server says to each.

use std::{collections::HashMap, time::Duration};

use anyhow::Context;
use k8s_openapi::{
    api::core::v1::{Namespace, ServiceAccount},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{
        ApiResource, DynamicObject, GetParams, ListParams, Patch, PatchParams, ValidationDirective,
    },
    client::Body,
    core::{GroupVersionKind, Request, Status, response::StatusDetails},
    discovery::{Scope, pinned_kind},
};
use serde::Serialize;
use serde_json::json;

use crate::{manifests::Manifest, talk, wait::until};

/// As whom fields are owned that are set from here.
pub(crate) const FIELD_MANAGER: &str = "playground";

/// How long the API server may take to serve what it has accepted.
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
    create_missing_namespaces(&mut applier, &manifests).await?;
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

/// Applies one object after the other.
pub(crate) struct Applier {
    client: Client,
    kinds: HashMap<GroupVersionKind, (ApiResource, Scope)>,
}

/// What the API server said to one object.
pub(crate) struct Answer {
    /// Where the object belongs; `None` if its kind has no namespaces.
    pub(crate) namespace: Option<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) result: Result<(), Box<Status>>,
}

#[derive(Clone, Copy)]
enum Verb {
    Apply,
    CreateOrApply,
}

impl Applier {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            kinds: HashMap::new(),
        }
    }

    /// Applies one object on the server's side, taking over the fields that somebody else owns. After a CRD it waits until its kind is served.
    pub(crate) async fn apply(&mut self, manifest: &Manifest) -> anyhow::Result<Answer> {
        self.send(manifest, Verb::Apply).await
    }

    /// Creates an object, or applies it where it exists, as `kubectl apply` does without further flags. What is to be created is
    /// admitted before its types are looked at, so that refusals read as they do for users.
    async fn create_or_apply(&mut self, manifest: &Manifest) -> anyhow::Result<Answer> {
        self.send(manifest, Verb::CreateOrApply)
            .await
    }

    async fn send(&mut self, manifest: &Manifest, verb: Verb) -> anyhow::Result<Answer> {
        let shown = || format!("cannot apply {} `{}`", manifest.kind, manifest.name);
        let Some((resource, scope)) = self
            .kind(manifest)
            .await
            .with_context(shown)?
        else {
            return Ok(Answer {
                namespace: manifest.namespace.clone(),
                warnings: Vec::new(),
                result: Err(Box::new(no_such_kind(manifest))),
            });
        };
        let namespace = (scope == Scope::Namespaced).then(|| {
            let named = manifest.namespace.clone();
            named.unwrap_or_else(|| "default".to_owned())
        });
        let url = DynamicObject::url_path(&resource, namespace.as_deref());
        let creates = match verb {
            Verb::Apply => false,
            Verb::CreateOrApply => {
                !self
                    .exists(&url, &manifest.name)
                    .await?
            }
        };
        let request = if creates {
            let url = format!("{url}?fieldManager={FIELD_MANAGER}&fieldValidation=Strict");
            http::Request::post(url)
                .header(http::header::CONTENT_TYPE, "application/json")
                .body(serde_json::to_vec(&manifest.object)?)?
        } else {
            let mut parameters = PatchParams::apply(FIELD_MANAGER).force();
            parameters.field_validation = Some(ValidationDirective::Strict);
            let patch = Patch::Apply(&manifest.object);
            Request::new(url).patch(&manifest.name, &parameters, &patch)?
        };
        // Not through `Api`, which keeps the headers to itself.
        let answer = self
            .client
            .send(request.map(Body::from))
            .await;
        let (head, body) = answer.with_context(shown)?.into_parts();
        let body = body
            .collect_bytes()
            .await
            .with_context(shown)?;
        let warnings = head
            .headers
            .get_all(http::header::WARNING)
            .iter()
            .filter_map(|value| warning_text(&String::from_utf8_lossy(value.as_bytes())))
            .collect();
        let result = if head.status.is_success() {
            if manifest.kind == "CustomResourceDefinition" {
                self.until_served(&manifest.name)
                    .await?;
            }
            Ok(())
        } else {
            Err(Box::new(refusal(head.status.as_u16(), &body)))
        };
        Ok(Answer {
            namespace,
            warnings,
            result,
        })
    }

    async fn exists(&self, url: &str, name: &str) -> anyhow::Result<bool> {
        // A name that makes no path is none that exists; the API server will say so.
        let Ok(request) = Request::new(url).get(name, &GetParams::default()) else {
            return Ok(false);
        };
        let answer = self
            .client
            .send(request.map(Body::from))
            .await?;
        Ok(answer.status().is_success())
    }

    /// What the API server knows of the object's kind, if anything.
    async fn kind(&mut self, manifest: &Manifest) -> anyhow::Result<Option<(ApiResource, Scope)>> {
        let kind = match manifest.api_version.split_once('/') {
            Some((group, version)) => GroupVersionKind::gvk(group, version, &manifest.kind),
            None => GroupVersionKind::gvk("", &manifest.api_version, &manifest.kind),
        };
        if let Some(known) = self.kinds.get(&kind) {
            return Ok(Some(known.clone()));
        }
        let (resource, capabilities) = match pinned_kind(&self.client, &kind).await {
            Ok(found) => found,
            Err(kube::Error::Discovery(_)) => return Ok(None),
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let known = (resource, capabilities.scope);
        self.kinds.insert(kind, known.clone());
        Ok(Some(known))
    }

    /// Waits until the objects of a CRD can be created.
    async fn until_served(&self, crd: &str) -> anyhow::Result<()> {
        let crds = Api::<CustomResourceDefinition>::all(self.client.clone());
        let what = format!("the CRD `{crd}` to be served");
        until(&what, LIMIT, async || {
            let crd = crds.get(crd).await?;
            let established = crd
                .status
                .iter()
                .flat_map(|status| status.conditions.iter().flatten())
                .any(|condition| condition.type_ == "Established" && condition.status == "True");
            for version in &crd.spec.versions {
                let group = &crd.spec.group;
                let kind = GroupVersionKind::gvk(group, &version.name, &crd.spec.names.kind);
                if pinned_kind(&self.client, &kind)
                    .await
                    .is_err()
                {
                    return Ok(None);
                }
            }
            Ok(established.then_some(()))
        })
        .await
    }
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
    applier: &mut Applier,
    manifests: &[Manifest],
) -> anyhow::Result<()> {
    let existing = Api::<Namespace>::all(applier.client.clone())
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
                "created the namespace `{namespace}`, which nothing here declares"
            ));
            until_usable(&applier.client, namespace).await?;
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

/// What the API server answered, in the form that it answers in almost always.
fn refusal(code: u16, body: &[u8]) -> Status {
    let mut status = serde_json::from_slice(body).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(body);
        Status::failure(text.trim(), "")
    });
    if status.code == 0 {
        status.code = code;
    }
    if status.reason.is_empty() {
        // As Kubernetes itself calls a reason that is not given.
        "Unknown".clone_into(&mut status.reason);
    }
    status
}

fn no_such_kind(manifest: &Manifest) -> Status {
    let (kind, version) = (&manifest.kind, &manifest.api_version);
    let message = format!("no matches for kind {kind:?} in version {version:?}");
    Status::failure(&message, "NotFound").with_code(404)
}

/// The text of a header `299 - "text"`, in which `\` escapes (RFC 7234, section 5.5).
fn warning_text(header: &str) -> Option<String> {
    let (_, quoted) = header.split_once('"')?;
    let mut text = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return Some(text),
            '\\' => text.extend(characters.next()),
            other => text.push(other),
        }
    }
    None
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

    #[test]
    fn warnings_are_read_as_they_were_written() {
        assert_eq!(
            warning_text(r#"299 - "spec.image: \"codex\" has no tag \\ digest""#).as_deref(),
            Some(r#"spec.image: "codex" has no tag \ digest"#)
        );
        assert_eq!(warning_text("299 - none"), None);
    }

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
