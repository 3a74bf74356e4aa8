//! Installing agentkube from the shipped manifests.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    controlplane::ControlPlane,
    manager::policies,
    objects::{Applier, FIELD_MANAGER, Manifest, manifests},
    wait::until,
};

/// The folder with the shipped manifests, relative to this crate.
const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests");

/// How long a change of the registrations may take to be followed.
const LIMIT: Duration = Duration::from_secs(30);

/// agentkube on a control plane, from the shipped manifests.
///
/// The Deployment is applied like everything else, since a mistake in it should fail here. KWOK plays its pods, which do
/// nothing: the API server is pointed at managers that run as processes beside it.
pub struct Installation {
    config: Config,
    client: Client,
    registrations: Vec<Manifest>,
}

impl Installation {
    /// Applies what `kubectl apply -k manifests/` would, with webhooks at `https://127.0.0.1:WEBHOOK_PORT`, and waits
    /// until Agents and Tools are served, and until the API server itself asks about what they name. From then on they
    /// can be created once a manager listens on that port.
    ///
    /// # Errors
    ///
    /// The manifests cannot be built, or the API server refuses one.
    pub async fn apply(control_plane: &ControlPlane, webhook_port: u16) -> anyhow::Result<Self> {
        let (registrations, rest): (Vec<_>, Vec<_>) = shipped(control_plane)
            .await
            .context("cannot build the shipped manifests")?
            .into_iter()
            .partition(|manifest| {
                manifest
                    .kind
                    .ends_with("WebhookConfiguration")
            });
        let client = control_plane.client();
        // In kustomize's own order, which has namespaces, CRDs and accounts first.
        apply_all(&client, &rest).await?;
        let mut installation = Self {
            config: control_plane.config(),
            client,
            registrations,
        };
        // Where there are registrations, the policies have been there for as long.
        if !installation.is_registered().await? {
            installation
                .until_references_are_asked_about()
                .await?;
        }
        installation
            .point_webhooks_at(webhook_port)
            .await?;
        Ok(installation)
    }

    /// Waits until the API server itself asks about what Agents and Tools name. The webhooks must not be in the way.
    ///
    /// # Errors
    ///
    /// It does not in time; the error says how somebody without rights was answered last.
    pub async fn until_references_are_asked_about(&self) -> anyhow::Result<()> {
        policies::until_asked(&self.config).await
    }

    /// Whether there is a registration already.
    async fn is_registered(&self) -> anyhow::Result<bool> {
        for registration in &self.registrations {
            let (group, version) = registration
                .api_version
                .split_once('/')
                .context("a registration is of a group")?;
            let kind = GroupVersionKind::gvk(group, version, &registration.kind);
            let found =
                Api::<DynamicObject>::all_with(self.client.clone(), &ApiResource::from_gvk(&kind))
                    .get_opt(&registration.name)
                    .await?;
            if found.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Points the registrations at another manager, and applies them anew if somebody deleted them. The
    /// certificate authority in them stays, as it belongs to the manager.
    ///
    /// The API server follows a moment later, see [`Installation::until_webhooks_answer`].
    ///
    /// # Errors
    ///
    /// The API server refuses a registration.
    pub async fn point_webhooks_at(&mut self, port: u16) -> anyhow::Result<()> {
        for registration in &mut self.registrations {
            point_at(&mut registration.object, port)?;
        }
        apply_all(&self.client, &self.registrations).await
    }

    /// Waits until the webhooks take part in the admission of Agents. Right after they were registered, pointed elsewhere or
    /// given another certificate authority, the API server may know nothing of it yet.
    ///
    /// # Errors
    ///
    /// They do not in time; the error says how an Agent was answered last.
    pub async fn until_webhooks_answer(&self) -> anyhow::Result<()> {
        // Refused by the webhooks alone, so that the refusal shows that they were asked; ...
        let wrong = json!({"runtime": "Codex", "image": "https://registry.example.com/codex"});
        // ... and one that gets as far as the validating one.
        let right = json!({"runtime": "Codex"});
        let mut last = String::new();
        let answered = until("the webhooks to answer", LIMIT, async || {
            for (spec, shows_it) in [
                (&wrong, is_denial as fn(&kube::Result<_>) -> bool),
                (&right, is_decision),
            ] {
                let answer = self.try_out(spec).await;
                if !shows_it(&answer) {
                    last = match answer {
                        Ok(_) => "an Agent that they refuse was accepted".to_owned(),
                        Err(kube::Error::Api(status)) => status.message.clone(),
                        Err(error) => error.to_string(),
                    };
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await;
        answered.with_context(|| format!("the last answer was: {last}"))
    }

    /// Has the API server admit an Agent, without creating it.
    async fn try_out(&self, spec: &Value) -> kube::Result<DynamicObject> {
        let kind = GroupVersionKind::gvk("agentkube.io", "v1alpha1", "Agent");
        let resource = ApiResource::from_gvk_with_plural(&kind, "agents");
        let mut agent = DynamicObject::new("playground-probe", &resource);
        agent.data = json!({"spec": spec});
        let dry_run = PatchParams {
            dry_run: true,
            ..PatchParams::apply(FIELD_MANAGER)
        };
        // Applied and not created: creations are held up for 2 s while the CRD is new.
        Api::default_namespaced_with(self.client.clone(), &resource)
            .patch("playground-probe", &dry_run, &Patch::Apply(&agent))
            .await
    }
}

/// What `kubectl kustomize` makes of a folder, untouched by the configuration of the person who runs this.
///
/// # Errors
///
/// kubectl cannot be run, or refuses the folder; the error has its words.
pub async fn kustomize(kubectl: &Path, folder: &Path) -> anyhow::Result<String> {
    let output = tokio::process::Command::new(kubectl)
        .arg("kustomize")
        .arg(folder)
        .env("HOME", std::env::temp_dir())
        .env_remove("KUBECONFIG")
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run `kubectl kustomize`")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// What `kubectl apply -k` would apply.
async fn shipped(control_plane: &ControlPlane) -> anyhow::Result<Vec<Manifest>> {
    let text = kustomize(control_plane.kubectl_program(), Path::new(MANIFESTS)).await?;
    manifests::parse(Path::new("manifests/kustomization.yaml"), &text)
}

async fn apply_all(client: &Client, manifests: &[Manifest]) -> anyhow::Result<()> {
    let mut applier = Applier::new(client.clone());
    for manifest in manifests {
        let answer = applier.apply(manifest).await?;
        if let Err(status) = answer.result {
            let (kind, name) = (&manifest.kind, &manifest.name);
            bail!(
                "the API server refuses the shipped {kind} `{name}`: {}",
                status.message
            );
        }
        if let Some(warning) = answer.warnings.first() {
            let (kind, name) = (&manifest.kind, &manifest.name);
            bail!("the API server warns of the shipped {kind} `{name}`: {warning}");
        }
    }
    Ok(())
}

/// Replaces the Service in a registration by an address on this machine; everything else stays as it was shipped.
fn point_at(registration: &mut Value, port: u16) -> anyhow::Result<()> {
    let webhooks = registration
        .get_mut("webhooks")
        .and_then(Value::as_array_mut)
        .context("a shipped registration has no webhooks")?;
    for webhook in webhooks {
        let config = webhook
            .get_mut("clientConfig")
            .and_then(Value::as_object_mut)
            .context("a shipped webhook has no `clientConfig`")?;
        let path = match (config.remove("service"), config.get("url")) {
            (Some(service), _) => service
                .get("path")
                .and_then(Value::as_str)
                .map(str::to_owned),
            // It was pointed somewhere before.
            (None, Some(Value::String(url))) => url
                .rsplit_once('/')
                .map(|(_, path)| format!("/{path}")),
            (None, _) => None,
        };
        let path = path.context("a shipped webhook has no path")?;
        config.insert(
            "url".to_owned(),
            format!("https://127.0.0.1:{port}{path}").into(),
        );
    }
    Ok(())
}

/// Whether webhooks refused.
fn is_denial<T>(answer: &kube::Result<T>) -> bool {
    matches!(answer, Err(kube::Error::Api(status))
        if (400..500).contains(&status.code) && status.message.contains("denied the request"))
}

/// Whether webhooks decided either way. One that cannot be reached is answered with a code from 500.
fn is_decision<T>(answer: &kube::Result<T>) -> bool {
    answer.is_ok() || is_denial(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_address_of_a_webhook_is_changed_and_can_be_changed_again() {
        let service = json!({"name": "agentkube-manager", "namespace": "agentkube-system", "path": "/mutate"});
        let mut registration = json!({"webhooks": [
            {"name": "a", "clientConfig": {"service": service}, "timeoutSeconds": 5},
        ]});
        for port in [4000, 5000] {
            point_at(&mut registration, port).unwrap();
            let url = format!("https://127.0.0.1:{port}/mutate");
            let expected = json!({"webhooks": [
                {"name": "a", "clientConfig": {"url": url}, "timeoutSeconds": 5},
            ]});
            assert_eq!(registration, expected);
        }
    }
}
