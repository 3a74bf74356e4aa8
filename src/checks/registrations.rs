use k8s_openapi::api::admissionregistration::v1::WebhookClientConfig;
use kube::{Api, Client, api::ListParams};

use super::{finding::CheckFinding, subject::Installation};
use crate::{
    admission::{AdmissionPhase, REGISTRATION, Webhook},
    api::{MANAGER, Readable},
    server::certificates::{
        bundle::Bundle,
        ca_bundle::{
            Injector, MutatingRegistration, NAME, Registration, ValidatingRegistration,
            owner_of_bundles,
        },
    },
    telemetry::CheckKind,
    watch::why_unreadable,
};

/// Both registrations as they are now, or the error of reading one.
pub(super) struct Registrations {
    mutating: Result<Option<Readable<MutatingRegistration>>, kube::Error>,
    validating: Result<Option<Readable<ValidatingRegistration>>, kube::Error>,
}

impl Registrations {
    pub(super) async fn read(client: &Client) -> Self {
        let (mutating, validating) = futures::join!(one(client), one(client));
        Self {
            mutating,
            validating,
        }
    }

    /// The caBundle of each webhook that has one.
    pub(super) fn bundles(&self) -> impl Iterator<Item = &[u8]> {
        bundles(&self.mutating).chain(bundles(&self.validating))
    }

    pub(super) fn look(&self, subject: &Installation) -> Vec<CheckFinding> {
        let mut findings = Vec::new();
        judge(
            &self.mutating,
            AdmissionPhase::Mutating,
            subject,
            &mut findings,
        );
        judge(
            &self.validating,
            AdmissionPhase::Validating,
            subject,
            &mut findings,
        );
        for (check, text) in [
            (
                CheckKind::Registrations,
                "both exist and point at the manager",
            ),
            (CheckKind::CaBundle, "no other program writes it"),
        ] {
            if !findings
                .iter()
                .any(|finding| finding.check == check)
            {
                findings.push(CheckFinding::ok(check, text));
            }
        }
        findings
    }
}

fn bundles<K: Registration>(
    registration: &Result<Option<Readable<K>>, kube::Error>,
) -> impl Iterator<Item = &[u8]> {
    registration
        .iter()
        .flatten()
        .filter_map(Readable::as_read)
        .flat_map(Registration::webhooks)
        .filter_map(|webhook| {
            Some(
                webhook
                    .client_config
                    .ca_bundle
                    .as_ref()?
                    .0
                    .as_slice(),
            )
        })
        .filter(|bundle| !bundle.is_empty())
}

/// Reads one registration by a list, which the manager's rights allow.
async fn one<K: Registration>(client: &Client) -> Result<Option<Readable<K>>, kube::Error> {
    let params = ListParams::default().fields(&format!("metadata.name={REGISTRATION}"));
    let list = Api::<Readable<K>>::all(client.clone())
        .list(&params)
        .await?;
    Ok(list.items.into_iter().next())
}

fn judge<K: Registration>(
    registration: &Result<Option<Readable<K>>, kube::Error>,
    phase: AdmissionPhase,
    subject: &Installation,
    findings: &mut Vec<CheckFinding>,
) {
    let kind = K::kind(&());
    let registration = match registration {
        Ok(Some(Readable::Read(registration))) => registration,
        Ok(Some(Readable::Unread(unread))) => {
            let why = why_unreadable(&unread.field);
            let text = format!("{kind} `{NAME}` is left unchanged: {why}");
            let finding = CheckFinding::error(CheckKind::Registrations, text);
            findings.push(if subject.tls_dir.is_none() {
                finding.told()
            } else {
                finding
            });
            return;
        }
        Ok(None) => {
            let text =
                format!("{kind} `{REGISTRATION}` does not exist (hint: apply the manifests)");
            findings.push(CheckFinding::error(CheckKind::Registrations, text).told());
            return;
        }
        Err(error) => {
            let text = format!("{kind} `{REGISTRATION}` cannot be read: {error}");
            findings.push(CheckFinding::error(CheckKind::Registrations, text));
            return;
        }
    };
    // Usually all webhooks of a registration have the same problem, so one is reported.
    let misdirected = registration
        .webhooks()
        .iter()
        .find_map(|webhook| {
            let why = misdirection(&webhook.client_config, phase, subject)?;
            Some((&webhook.name, why))
        });
    if let Some((webhook, why)) = misdirected {
        let text = format!("`{webhook}` of {kind} `{REGISTRATION}` {why}");
        findings.push(CheckFinding::error(CheckKind::Registrations, text));
    }
    findings.extend(dispute(registration, subject));
}

/// The reason why a webhook does not reach this manager.
fn misdirection(
    config: &WebhookClientConfig,
    phase: AdmissionPhase,
    subject: &Installation,
) -> Option<String> {
    if let Some(service) = &config.service {
        let namespace = &subject.namespace;
        let path = service.path.as_deref().unwrap_or("/");
        return if service.namespace != *namespace {
            Some(format!(
                "points at the namespace `{}` instead of `{namespace}` (hint: is there a second installation? A cluster can have only one)",
                service.namespace
            ))
        } else if service.name != MANAGER {
            Some(format!(
                "points at the Service `{}` instead of `{MANAGER}` (hint: apply the manifests)",
                service.name
            ))
        } else if service.port.unwrap_or(443) != 443 {
            Some(format!(
                "points at port {} of the Service instead of 443 (hint: apply the manifests)",
                service.port.unwrap_or_default()
            ))
        } else {
            misses(path, phase)
        };
    }
    let url = config
        .url
        .as_deref()?
        .parse::<http::Uri>()
        .ok()?;
    let host = url
        .host()
        .unwrap_or_default()
        .trim_start_matches('[')
        .trim_end_matches(']');
    if subject
        .names
        .iter()
        .any(|name| name == host)
    {
        misses(url.path(), phase)
    } else {
        Some(format!(
            "is called at `{host}`, which the certificate does not name (hint: --serving-name={host})"
        ))
    }
}

fn misses(path: &str, phase: AdmissionPhase) -> Option<String> {
    let paths = Webhook::ALL
        .into_iter()
        .filter(|webhook| webhook.phase() == phase)
        .map(Webhook::path)
        .collect::<Vec<_>>();
    (!paths.contains(&path)).then(|| {
        format!(
            "calls the path `{path}`, which is not served for it (hint: {})",
            paths.join(" or ")
        )
    })
}

/// Another writer of caBundle, if that is a problem.
fn dispute<K: Registration>(registration: &K, subject: &Installation) -> Option<CheckFinding> {
    let kind = K::kind(&());
    let meta = registration.meta();
    let injector = Injector::of(meta);
    let is_blank = registration
        .webhooks()
        .iter()
        .any(|webhook| {
            webhook
                .client_config
                .ca_bundle
                .as_ref()
                .is_none_or(|bundle| Bundle::parse(&bundle.0).is_err())
        });
    if subject.tls_dir.is_some() {
        return is_blank.then(|| {
            CheckFinding::error(
                CheckKind::CaBundle,
                format!("{kind} `{REGISTRATION}` has no caBundle, and with --tls-dir the issuer of the certificate has to write it (hint: check that issuer)"),
            )
        });
    }
    if let Some(injector) = injector {
        let text = format!(
            "caBundle of {kind} `{REGISTRATION}` is left to {}, because of the annotation `{}` (hint: mount the matching certificate and set --tls-dir, or remove the annotation)",
            injector.program, injector.annotation
        );
        return Some(CheckFinding::error(CheckKind::CaBundle, text).told());
    }
    let owner = owner_of_bundles(meta).filter(|owner| owner != NAME && !is_blank)?;
    let text = format!(
        "caBundle of {kind} `{REGISTRATION}` was written by `{owner}` (hint: if that is a program, stop it from writing caBundle, which the manager maintains)"
    );
    Some(CheckFinding::warning(CheckKind::CaBundle, text).told())
}

#[cfg(test)]
mod tests;
