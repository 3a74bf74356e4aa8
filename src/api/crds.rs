use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use super::{Agent, Tool};

/// The custom resource definitions, as they are installed.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![Agent::crd(), Tool::crd()]
}

/// Writes one definition as the YAML that `manifests/crds/` holds.
///
/// # Errors
///
/// Only where the definition cannot be written as YAML, which no definition here does.
pub fn to_yaml(crd: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(crd)
}
