use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::{
    owner::{Injector, owner_of_bundles},
    registration::{NAME, Registration},
};
use crate::server::certificates::bundle::Bundle;

/// What is known of a registration
#[derive(Debug)]
pub(super) struct LiveRegistration {
    uid: Option<String>,
    webhooks: Vec<(String, Bundle)>,
    injector: Option<Injector>,
    /// Who wrote the bundles last, if it was not us
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

    /// Whether every webhook has all of these
    pub(super) fn carries(&self, wanted: &Bundle) -> bool {
        self.webhooks
            .iter()
            .all(|(_, bundle)| bundle.contains_all(wanted))
    }

    /// What every webhook has
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

    /// What some webhook has besides these
    pub(super) fn besides(&self, wanted: &Bundle) -> Bundle {
        self.all()
            .certificates()
            .iter()
            .filter(|certificate| !wanted.contains(certificate))
            .cloned()
            .collect()
    }

    /// Who else says that the bundles are theirs: one whose annotation asks for it, or one who wrote
    /// authorities of their own
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

    /// The bundle to write: these, and beside them what stands there by our own hand, because
    /// another replica may serve a certificate of it or know of one that is to come
    pub(super) fn extended(&self, wanted: &Bundle) -> Bundle {
        let mut bundle = wanted.clone();
        if self.owner.is_none() {
            for certificate in self.all().certificates() {
                bundle.add(certificate.clone());
            }
        }
        bundle
    }

    /// The fields that are ours, and the `uid`, without which applying would create a registration
    /// that was just deleted
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

/// Somebody else who looks after the bundles
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum OtherOwner {
    /// By an annotation on the registration, on purpose
    Injector(Injector),
    /// By writing them; the field manager's name
    Writer(String),
}

/// Blank where there is no certificate, as in the placeholders of some tools
fn parsed(bundle: Option<&ByteString>) -> Bundle {
    bundle
        .and_then(|bundle| Bundle::parse(&bundle.0).ok())
        .unwrap_or_default()
}
