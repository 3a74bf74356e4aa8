use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::{
    owner::{Injector, owner_of_bundles},
    registration::{NAME, Registration},
};
use crate::server::certificates::bundle::Bundle;

/// The state of a registration in the cluster.
#[derive(Debug)]
pub(super) struct LiveRegistration {
    uid: Option<String>,
    webhooks: Vec<(String, Bundle)>,
    injector: Option<Injector>,
    /// The field manager that last wrote the bundles, if it was another one.
    owner: Option<String>,
}

impl LiveRegistration {
    pub(super) fn of<K: Registration>(registration: &K) -> Self {
        let webhooks = registration
            .webhooks()
            .iter()
            .map(|webhook| {
                let bundle = parsed(webhook.client_config.ca_bundle.as_ref());
                (webhook.name.clone(), bundle)
            })
            .collect();
        let meta = registration.meta();
        Self {
            uid: meta.uid.clone(),
            webhooks,
            injector: Injector::of(meta),
            owner: owner_of_bundles(meta).filter(|owner| owner != NAME),
        }
    }

    /// True if every webhook has all of these certificates.
    pub(super) fn carries(&self, wanted: &Bundle) -> bool {
        self.webhooks
            .iter()
            .all(|(_, bundle)| bundle.contains_all(wanted))
    }

    /// The certificates that every webhook has.
    pub(super) fn carried(&self) -> Bundle {
        let Some(((_, first), rest)) = self.webhooks.split_first() else {
            return Bundle::default();
        };
        first
            .certificates()
            .iter()
            .filter(|certificate| {
                rest.iter()
                    .all(|(_, bundle)| bundle.contains(certificate))
            })
            .cloned()
            .collect()
    }

    /// The certificates that some webhook has besides these.
    pub(super) fn besides(&self, wanted: &Bundle) -> Bundle {
        self.all()
            .certificates()
            .iter()
            .filter(|certificate| !wanted.contains(certificate))
            .cloned()
            .collect()
    }

    /// Another owner of the bundles: a program that an annotation names, or one that wrote its own
    /// authorities.
    pub(super) fn rival(&self) -> Option<OtherOwner> {
        if let Some(injector) = self.injector {
            return Some(OtherOwner::Injector(injector));
        }
        let is_blank = self.all().certificates().is_empty();
        self.owner
            .clone()
            .filter(|_| !is_blank)
            .map(OtherOwner::Writer)
    }

    /// The bundle to write: these certificates, and the existing ones that a manager wrote, because
    /// another replica may serve a certificate of theirs now or soon.
    pub(super) fn extended(&self, wanted: &Bundle) -> Bundle {
        let mut bundle = wanted.clone();
        if self.owner.is_none() {
            for certificate in self.all().certificates() {
                bundle.add(certificate.clone());
            }
        }
        bundle
    }

    /// Our fields, and the `uid`, without which an apply would recreate a registration that was just
    /// deleted.
    pub(super) fn patch<K: Registration>(&self, bundle: &Bundle) -> Value {
        let bundle = BASE64_STANDARD.encode(bundle.pem());
        let webhooks: Vec<_> = self
            .webhooks
            .iter()
            .map(|(name, _)| json!({"name": name, "clientConfig": {"caBundle": bundle}}))
            .collect();
        json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {"name": NAME, "uid": self.uid},
            "webhooks": webhooks,
        })
    }

    fn all(&self) -> Bundle {
        self.webhooks
            .iter()
            .flat_map(|(_, bundle)| bundle.certificates())
            .cloned()
            .collect()
    }
}

/// Another owner of the bundles.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum OtherOwner {
    /// A program that an annotation of the registration names, on purpose.
    Injector(Injector),
    /// A program that writes them, by its field manager's name.
    Writer(String),
}

/// The parsed bundle; empty if there is no certificate, as in the placeholders of some tools.
fn parsed(bundle: Option<&ByteString>) -> Bundle {
    bundle
        .and_then(|bundle| Bundle::parse(&bundle.0).ok())
        .unwrap_or_default()
}
