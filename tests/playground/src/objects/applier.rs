//! One object to the API server, and its answer with everything in it.

use std::{collections::HashMap, time::Duration};

use anyhow::Context;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, GetParams, Patch, PatchParams, ValidationDirective},
    client::Body,
    core::{GroupVersionKind, Request, Status},
    discovery::{Scope, pinned_kind},
};

use crate::{objects::manifests::Manifest, wait::until};

/// As whom fields are owned that are set from here.
pub(crate) const FIELD_MANAGER: &str = "playground";

/// How long the API server may take to serve a kind that it has accepted.
const LIMIT: Duration = Duration::from_secs(30);

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

impl Applier {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            kinds: HashMap::new(),
        }
    }

    /// Applies one object on the server's side, taking over the fields that somebody else owns. After a CRD it waits
    /// until its kind is served.
    pub(crate) async fn apply(&mut self, manifest: &Manifest) -> anyhow::Result<Answer> {
        self.send(manifest, Verb::Apply).await
    }

    /// Creates an object, or applies it where it exists, as `kubectl apply` does without further flags. What is to be
    /// created is admitted before its types are looked at, so that refusals read as they do for users.
    pub(crate) async fn create_or_apply(&mut self, manifest: &Manifest) -> anyhow::Result<Answer> {
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
                .body(serde_json::to_vec(&manifest.object)?)
                .with_context(shown)?
        } else {
            let mut parameters = PatchParams::apply(FIELD_MANAGER).force();
            parameters.field_validation = Some(ValidationDirective::Strict);
            let patch = Patch::Apply(&manifest.object);
            Request::new(url)
                .patch(&manifest.name, &parameters, &patch)
                .with_context(shown)?
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

#[derive(Clone, Copy)]
enum Verb {
    Apply,
    CreateOrApply,
}

/// What the API server answered, in the form that it answers in almost always.
pub(crate) fn refusal(code: u16, body: &[u8]) -> Status {
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
}
