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

/// The name of both registrations, and the field manager of caBundle
pub const NAME: &str = REGISTRATION;

/// The two kinds of registrations, which differ in their types alone
pub trait Registration:
    Resource<DynamicType = (), Scope = ClusterResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + 'static
{
    /// The webhooks that are registered
    fn webhooks(&self) -> &[RegisteredWebhook];

    /// Where it is told what a registration of this kind holds
    #[doc(hidden)]
    fn seen(trust: &mut Trust) -> &mut FirstSeen;
}

/// A registration of mutating webhooks, as far as it is read
///
/// A field that nobody needs here, and that this version cannot read, is in nobody's way.
#[derive(Clone, Debug, Default, Deserialize, Resource, Serialize)]
#[resource(inherit = "MutatingWebhookConfiguration")]
pub struct MutatingRegistration {
    /// Its name, its `uid`, its annotations, and who wrote what
    pub metadata: ObjectMeta,
    /// The webhooks
    #[serde(default)]
    pub webhooks: Vec<RegisteredWebhook>,
}

/// A registration of validating webhooks, as far as it is read
#[derive(Clone, Debug, Default, Deserialize, Resource, Serialize)]
#[resource(inherit = "ValidatingWebhookConfiguration")]
pub struct ValidatingRegistration {
    /// Its name, its `uid`, its annotations, and who wrote what
    pub metadata: ObjectMeta,
    /// The webhooks
    #[serde(default)]
    pub webhooks: Vec<RegisteredWebhook>,
}

/// A webhook of a registration
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisteredWebhook {
    /// Its name
    pub name: String,
    /// How the API server calls it
    pub client_config: WebhookClientConfig,
    /// What a request has to be like to come to it
    #[serde(default)]
    pub match_conditions: Vec<MatchCondition>,
    /// For which resources it is called
    #[serde(default)]
    pub rules: Vec<RegisteredRule>,
}

/// Resources for which a webhook is called
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisteredRule {
    /// Their API groups
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
