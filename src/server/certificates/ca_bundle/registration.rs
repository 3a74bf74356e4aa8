use std::fmt::Debug;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::{Resource, core::ClusterResourceScope};
use serde::de::DeserializeOwned;

use crate::{
    admission::REGISTRATION,
    server::certificates::trust::{Seen, Trust},
};

/// The name of both registrations, and the field manager of caBundle
pub const NAME: &str = REGISTRATION;

/// The two kinds of registrations, which differ in their types alone
pub trait Registration:
    Resource<DynamicType = (), Scope = ClusterResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + 'static
{
    /// Each webhook's name, and how it is called
    fn clients(&self) -> Vec<(&str, &WebhookClientConfig)>;

    /// Where it is told what a registration of this kind holds
    #[doc(hidden)]
    fn seen(trust: &mut Trust) -> &mut Seen;
}

impl Registration for MutatingWebhookConfiguration {
    fn clients(&self) -> Vec<(&str, &WebhookClientConfig)> {
        self.webhooks
            .iter()
            .flatten()
            .map(|webhook| (webhook.name.as_str(), &webhook.client_config))
            .collect()
    }

    fn seen(trust: &mut Trust) -> &mut Seen {
        &mut trust.mutating
    }
}

impl Registration for ValidatingWebhookConfiguration {
    fn clients(&self) -> Vec<(&str, &WebhookClientConfig)> {
        self.webhooks
            .iter()
            .flatten()
            .map(|webhook| (webhook.name.as_str(), &webhook.client_config))
            .collect()
    }

    fn seen(trust: &mut Trust) -> &mut Seen {
        &mut trust.validating
    }
}
