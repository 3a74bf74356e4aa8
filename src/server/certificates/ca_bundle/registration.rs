use std::fmt::Debug;

use k8s_openapi::{
    ClusterResourceScope,
    api::admissionregistration::v1::{
        MatchCondition, MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
        WebhookClientConfig,
    },
};
use kube::{Resource, api::ObjectMeta};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    admission::REGISTRATION,
    server::certificates::trust::{FirstSeen, Trust},
};

/// The name of both registrations, and the field manager of caBundle.
pub const NAME: &str = REGISTRATION;

/// The two kinds of registrations, which differ only in their types.
pub trait Registration:
    Resource<DynamicType = (), Scope = ClusterResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + 'static
{
    /// The webhooks that are registered.
    fn webhooks(&self) -> &[RegisteredWebhook];

    /// The part of the trust that belongs to this kind of registration.
    #[doc(hidden)]
    fn seen(trust: &mut Trust) -> &mut FirstSeen;
}

/// The fields of a `MutatingWebhookConfiguration` that are read.
///
/// Other fields are ignored, even if this version could not read them.
#[derive(Clone, Debug, Default, Deserialize, Resource, Serialize)]
#[resource(inherit = "MutatingWebhookConfiguration")]
pub struct MutatingRegistration {
    /// The name, `uid`, annotations and field managers.
    pub metadata: ObjectMeta,
    /// The webhooks.
    #[serde(default)]
    pub webhooks: Vec<RegisteredWebhook>,
}

/// The fields of a `ValidatingWebhookConfiguration` that are read.
#[derive(Clone, Debug, Default, Deserialize, Resource, Serialize)]
#[resource(inherit = "ValidatingWebhookConfiguration")]
pub struct ValidatingRegistration {
    /// The name, `uid`, annotations and field managers.
    pub metadata: ObjectMeta,
    /// The webhooks.
    #[serde(default)]
    pub webhooks: Vec<RegisteredWebhook>,
}

/// A webhook of a registration.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisteredWebhook {
    /// Its name.
    pub name: String,
    /// The address at which the API server calls it.
    pub client_config: WebhookClientConfig,
    /// The conditions that a request must match.
    #[serde(default)]
    pub match_conditions: Vec<MatchCondition>,
    /// The resources for which it is called.
    #[serde(default)]
    pub rules: Vec<RegisteredRule>,
}

/// Resources for which a webhook is called.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisteredRule {
    /// Their API groups.
    #[serde(default)]
    pub api_groups: Vec<String>,
}

impl Registration for MutatingRegistration {
    fn webhooks(&self) -> &[RegisteredWebhook] {
        &self.webhooks
    }

    fn seen(trust: &mut Trust) -> &mut FirstSeen {
        &mut trust.mutating
    }
}

impl Registration for ValidatingRegistration {
    fn webhooks(&self) -> &[RegisteredWebhook] {
        &self.webhooks
    }

    fn seen(trust: &mut Trust) -> &mut FirstSeen {
        &mut trust.validating
    }
}
