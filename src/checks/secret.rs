use std::path::Path;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::{CheckFinding, Installation, registrations::Registrations};
use crate::{
    api::Readable,
    server::certificates::{directory, secret},
    telemetry::CheckKind,
    watch::why_unreadable,
};

const TYPE: &str = "kubernetes.io/tls";

/// Checks the certificate's Secret, and the validity of the certificate in it.
pub(super) async fn look(client: &Client, subject: &Installation) -> Vec<CheckFinding> {
    let name = secret::NAME;
    let secrets: Api<Readable<Secret>> = Api::namespaced(client.clone(), &subject.namespace);
    let found = match secrets.get_opt(name).await {
        Ok(Some(Readable::Read(found))) => found,
        Ok(Some(Readable::Unread(unread))) => {
            let text = format!(
                "`{name}` is left unchanged: {}",
                why_unreadable(&unread.field)
            );
            return vec![CheckFinding::error(CheckKind::Secret, text).told()];
        }
        Ok(None) => {
            let text = format!("`{name}` does not exist yet and will be created");
            return vec![CheckFinding::ok(CheckKind::Secret, text)];
        }
        Err(error) => {
            let text = format!(
                "`{name}` cannot be read: {error} (hint: `kubectl apply -k manifests/` restores the permission)"
            );
            return vec![CheckFinding::error(CheckKind::Secret, text)];
        }
    };
    let kind = found
        .type_
        .as_deref()
        .unwrap_or("Opaque");
    let mut findings = Vec::new();
    match secret::not_after(&found, &subject.names, Timestamp::now()) {
        Ok(not_after) => findings.push(CheckFinding::ok(
            CheckKind::Certificate,
            format!(
                "`{name}` holds a certificate that is valid until {not_after} and renewed before"
            ),
        )),
        Err(flaw) => findings.push(
            CheckFinding::warning(
                CheckKind::Certificate,
                format!(
                    "`{name}` holds no certificate that can be served and will be repaired: {flaw}"
                ),
            )
            .told(),
        ),
    }
    findings.insert(
        0,
        if kind == TYPE {
            CheckFinding::ok(CheckKind::Secret, format!("`{name}` is a Secret of type {TYPE}"))
        } else {
            let namespace = &subject.namespace;
            CheckFinding::warning(
                CheckKind::Secret,
                format!(
                    "`{name}` is a Secret of type {kind} instead of {TYPE}: another program created it (hint: delete it with `kubectl delete secret {name} --namespace {namespace}`, and the manager creates it again)"
                ),
            )
        },
    );
    findings
}

/// Checks that the certificate of a directory can be served and that the API server trusts it.
pub(super) async fn look_at_directory(
    path: &Path,
    subject: &Installation,
    registrations: &Registrations,
) -> CheckFinding {
    let pair = match directory::load(path).await {
        Ok(pair) => pair,
        Err(error) => return CheckFinding::error(CheckKind::Certificate, error.to_string()).told(),
    };
    let now = Timestamp::now();
    if let Err(error) = pair.validity().check(now) {
        return CheckFinding::error(
            CheckKind::Certificate,
            format!("`{}`: {error}", path.display()),
        );
    }
    for bundle in registrations.bundles() {
        if let Err(error) = pair.verify(bundle, &subject.names, now) {
            return CheckFinding::error(
                CheckKind::Certificate,
                format!(
                    "the API server does not trust the certificate in `{}`: {error} (hint: caBundle has to hold the authority that issued it)",
                    path.display()
                ),
            );
        }
    }
    CheckFinding::ok(
        CheckKind::Certificate,
        format!(
            "`{}` holds a certificate that is valid until {}",
            path.display(),
            pair.not_after()
        ),
    )
}
