//! The limits of fields with types of Kubernetes. Fields of our own types declare theirs.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};

/// The size limit of the spec of an Agent or a Tool in bytes, as JSON without spaces.
///
/// Memory and messages are sized by it: the leader holds specs, an update carries two of them in
/// one review, and a pod is built from one. The longest goal leaves as much again for all other
/// fields.
pub const LONGEST_SPEC_BYTES: usize = 128 * 1024;

/// The size limit of `spec.goal.inline` in bytes. The goal becomes an environment variable, and
/// Linux starts no process with a variable of 128 KiB (`MAX_ARG_STRLEN`).
pub const LONGEST_GOAL_BYTES: usize = 64 * 1024;

/// The most characters of a condition's message (`metav1.Condition`).
pub const LONGEST_CONDITION_MESSAGE: usize = 32_768;

/// The most characters of a text, by the name of its field. A list of texts has the name of the
/// list.
const TEXTS: [(&str, i64); 16] = [
    ("command", 4096),
    ("effect", 63),
    ("host", 253),
    ("key", QUALIFIED_NAME),
    ("lastTransitionTime", 64),
    ("message", 32_768),
    ("name", 253),
    ("operator", 63),
    ("path", 4096),
    // The name of a port, by RFC 6335.
    ("port", 15),
    ("reason", 1024),
    ("scheme", 63),
    ("service", 253),
    ("status", 63),
    ("type", QUALIFIED_NAME),
    ("value", 4096),
];

/// The most entries of a list, by the name of its field.
const LISTS: [(&str, i64); 2] = [("command", 64), ("httpHeaders", 64)];

/// The longest name with a prefix: a DNS subdomain, a slash, and 63 characters.
pub(super) const QUALIFIED_NAME: i64 = 253 + 1 + 63;

/// The limit of a map's keys. A schema cannot limit keys, so a rule does.
const KEYS: &str = "self.all(key, key.size() <= 317)";

/// The valid range of a port.
const PORTS: (f64, f64) = (1.0, 65535.0);

/// Refuses `1.0000000001`, which only the API server takes for an integer.
const WHOLE: &str = "type(self) == int || type(self) == string";

/// Sets the missing limits of a field's schema, and of the fields in it.
pub(super) fn limit(name: &str, schema: &mut JSONSchemaProps) {
    let is_number_or_text = schema.x_kubernetes_int_or_string == Some(true);
    if is_number_or_text {
        rule(schema, WHOLE, "must be a whole number or a text");
        if name == "port" {
            schema.minimum = Some(PORTS.0);
            schema.maximum = Some(PORTS.1);
        }
    }
    let is_text = schema.type_.as_deref() == Some("string") && schema.enum_.is_none();
    if is_text || is_number_or_text {
        schema.max_length = schema
            .max_length
            .or_else(|| find(&TEXTS, name));
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => limit(name, item),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => {
            for item in items {
                limit(name, item);
            }
        }
        None => {}
    }
    if schema.items.is_some() {
        schema.max_items = schema
            .max_items
            .or_else(|| find(&LISTS, name));
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &mut schema.additional_properties {
        limit(name, value);
        rule(schema, KEYS, "a key must be no more than 317 characters");
    }
    let properties = schema.properties.iter_mut();
    for (name, property) in properties.flat_map(BTreeMap::iter_mut) {
        limit(name, property);
    }
}

fn find(limits: &[(&str, i64)], name: &str) -> Option<i64> {
    limits
        .iter()
        .find_map(|(field, most)| (*field == name).then_some(*most))
}

fn rule(schema: &mut JSONSchemaProps, rule: &str, message: &str) {
    schema
        .x_kubernetes_validations
        .get_or_insert_default()
        .push(ValidationRule {
            rule: rule.to_owned(),
            message: Some(message.to_owned()),
            ..ValidationRule::default()
        });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::crds;

    /// Collects the paths of a schema that have no limit.
    fn unlimited(path: &str, schema: &JSONSchemaProps, found: &mut Vec<String>) {
        let is_number_or_text = schema.x_kubernetes_int_or_string == Some(true);
        let is_text = is_number_or_text || schema.type_.as_deref() == Some("string");
        if is_text && schema.enum_.is_none() && schema.max_length.is_none() {
            found.push(format!("{path}: maxLength"));
        }
        if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
            if schema.max_items.is_none() {
                found.push(format!("{path}: maxItems"));
            }
            unlimited(&format!("{path}[]"), item, found);
        }
        if let Some(JSONSchemaPropsOrBool::Schema(value)) = &schema.additional_properties {
            if schema.max_properties.is_none() {
                found.push(format!("{path}: maxProperties"));
            }
            unlimited(&format!("{path}{{}}"), value, found);
        }
        for (name, property) in schema.properties.iter().flatten() {
            unlimited(&format!("{path}.{name}"), property, found);
        }
    }

    #[test]
    fn every_text_list_and_map_has_a_limit() {
        let mut found = Vec::new();
        for crd in crds() {
            let version = crd.spec.versions[0].clone();
            let schema = version
                .schema
                .unwrap()
                .open_api_v3_schema
                .unwrap();
            let properties = schema.properties.unwrap();
            for part in ["spec", "status"] {
                if let Some(schema) = properties.get(part) {
                    let path = format!("{} {part}", crd.spec.names.kind);
                    unlimited(&path, schema, &mut found);
                }
            }
        }
        assert!(found.is_empty(), "{found:#?}");
    }
}
