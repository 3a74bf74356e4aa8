//! The owners of a registration's caBundle.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

/// A program that maintains caBundle because of an annotation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Injector {
    /// The annotation's key.
    pub annotation: &'static str,
    /// The program's usual name.
    pub program: &'static str,
}

impl Injector {
    const KNOWN: [Self; 4] = [
        Self::new("cert-manager.io/inject-ca-from", "cert-manager"),
        Self::new("cert-manager.io/inject-ca-from-secret", "cert-manager"),
        Self::new("cert-manager.io/inject-apiserver-ca", "cert-manager"),
        Self::new(
            "service.beta.openshift.io/inject-cabundle",
            "OpenShift's service CA",
        ),
    ];

    const fn new(annotation: &'static str, program: &'static str) -> Self {
        Self {
            annotation,
            program,
        }
    }

    /// The injector that a registration's annotations name.
    #[must_use]
    pub fn of(meta: &ObjectMeta) -> Option<Self> {
        let annotations = meta.annotations.as_ref()?;
        Self::KNOWN
            .into_iter()
            .find(|injector| annotations.contains_key(injector.annotation))
    }
}

/// The field manager that owns a webhook's caBundle. If several do, the first in the API server's order
/// that is not our own apply.
#[must_use]
pub fn owner_of_bundles(meta: &ObjectMeta) -> Option<String> {
    let owners: Vec<_> = meta
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| {
            entry
                .fields_v1
                .as_ref()
                .is_some_and(|fields| sets_a_bundle(&fields.0))
        })
        .filter_map(|entry| entry.manager.clone())
        .collect();
    owners
        .iter()
        .find(|owner| *owner != crate::api::MANAGER)
        .or(owners.first())
        .cloned()
}

fn sets_a_bundle(fields: &Value) -> bool {
    let Some(webhooks) = fields
        .get("f:webhooks")
        .and_then(Value::as_object)
    else {
        return false;
    };
    webhooks.values().any(|webhook| {
        webhook
            .pointer("/f:clientConfig/f:caBundle")
            .is_some()
    })
}
