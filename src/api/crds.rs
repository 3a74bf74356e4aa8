use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde::Serialize;

use super::{Agent, Rejection, Tool, limits};

/// The custom resource definitions, as they are installed.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    [Agent::crd(), Rejection::crd(), Tool::crd()]
        .map(without_null)
        .map(with_limits)
        .into()
}

/// Writes an object as YAML in the format of `manifests/`.
///
/// # Errors
///
/// Fails if the object cannot be written as YAML. None of the installed objects fails.
pub fn to_yaml(object: &impl Serialize) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(object)
}

/// Removes `nullable` from every field. The derive adds it to all optional ones, and a field that
/// is stored as null counts as set in a CEL rule. Without it the API server prunes nulls.
fn without_null(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let schema = version
            .schema
            .as_mut()
            .and_then(|validation| validation.open_api_v3_schema.as_mut());
        if let Some(schema) = schema {
            refuse_null(schema);
        }
    }
    crd
}

/// Limits the fields with types of Kubernetes.
fn with_limits(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let properties = crd
        .spec
        .versions
        .iter_mut()
        .filter_map(|version| {
            version
                .schema
                .as_mut()?
                .open_api_v3_schema
                .as_mut()
        })
        .filter_map(|schema| schema.properties.as_mut());
    for (name, property) in properties.flat_map(BTreeMap::iter_mut) {
        if matches!(name.as_str(), "spec" | "status") {
            limits::limit(name, property);
        }
    }
    crd
}

fn refuse_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    for property in schema
        .properties
        .iter_mut()
        .flat_map(BTreeMap::values_mut)
    {
        refuse_null(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => refuse_null(item),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(refuse_null),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &mut schema.additional_properties {
        refuse_null(value);
    }
}
