//! The schemas of the CRDs, applied like the API server does: unknown fields, nulls and defaults,
//! then types and limits, in the words of its validator (`k8s.io/kube-openapi/pkg/validation`).

pub(in crate::offline) mod path;
pub(in crate::offline) mod rules;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::Value;

use self::{path::Path, rules::Rule};
use super::{metadata, output::cause::ReviewCause};
use crate::api;

/// The schema of one kind.
pub(super) struct Schema {
    root: Node,
}

/// A field of a schema, or the items of a list.
#[derive(Default)]
struct Node {
    types: Vec<&'static str>,
    format: Option<String>,
    properties: BTreeMap<String, Node>,
    additional: Option<Box<Node>>,
    items: Option<Box<Node>>,
    required: Vec<String>,
    allowed: Vec<Value>,
    most_characters: Option<i64>,
    least_characters: Option<i64>,
    most_items: Option<i64>,
    most_members: Option<i64>,
    maximum: Option<f64>,
    minimum: Option<f64>,
    pattern: Option<Regex>,
    default: Option<Value>,
    keeps_unknown: bool,
    rules: Vec<Rule>,
}

static SCHEMAS: LazyLock<BTreeMap<String, Schema>> = LazyLock::new(|| {
    api::crds()
        .into_iter()
        .filter_map(|crd| {
            let kind = crd.spec.names.kind;
            let version = crd.spec.versions.into_iter().next()?;
            let root = version.schema?.open_api_v3_schema?;
            let root = Node::read(&root);
            Some((kind, Schema { root }))
        })
        .collect()
});

impl Schema {
    /// The schema of a kind, if it is one of our CRDs.
    pub(super) fn of(kind: &str) -> Option<&'static Self> {
        SCHEMAS.get(kind)
    }

    /// The fields that the schema does not know, sorted like the API server does.
    pub(super) fn unknown_fields(&self, object: &Value) -> Vec<String> {
        let mut unknown = BTreeSet::new();
        for (name, value) in object.as_object().into_iter().flatten() {
            match (name.as_str(), self.root.properties.get(name)) {
                ("apiVersion" | "kind" | "metadata", _) => {}
                (_, Some(property)) => {
                    let path = Path::Member(&Path::Root, name);
                    property.find_unknown(value, &path, &mut unknown);
                }
                (_, None) => {
                    unknown.insert(name.clone());
                }
            }
        }
        let of_metadata = metadata::unknown_fields(object);
        of_metadata
            .into_iter()
            .chain(unknown)
            .collect()
    }

    /// Sets defaults and drops nulls, as the API server does before anything else sees an object.
    pub(super) fn fill(&self, object: &mut Value) {
        self.root.fill(object);
    }

    /// Finds the problems of an object: by the schema, and then by its CEL rules.
    pub(super) fn judge(&self, object: &Value) -> Vec<ReviewCause> {
        let mut causes = metadata::judge(object);
        self.root
            .judge(object, &Path::Root, &mut causes);
        if causes
            .iter()
            .any(ReviewCause::blocks_rules)
        {
            causes.push(ReviewCause::invalid(
                "<nil>",
                Some(&Value::Null),
                "some validation rules were not checked because the object was invalid; \
                 correct the existing errors to complete validation",
            ));
        } else {
            self.root
                .judge_rules(object, &Path::Root, &mut causes);
        }
        causes
    }
}

impl Node {
    fn read(schema: &JSONSchemaProps) -> Self {
        let types = if schema.x_kubernetes_int_or_string == Some(true) {
            vec!["integer", "string"]
        } else {
            schema
                .type_
                .as_deref()
                .and_then(known_type)
                .into_iter()
                .collect()
        };
        let child = |schema| Box::new(Self::read(schema));
        Self {
            types,
            format: schema.format.clone(),
            properties: schema
                .properties
                .iter()
                .flatten()
                .map(|(name, property)| (name.clone(), Self::read(property)))
                .collect(),
            additional: match &schema.additional_properties {
                Some(JSONSchemaPropsOrBool::Schema(schema)) => Some(child(schema)),
                Some(JSONSchemaPropsOrBool::Bool(_)) | None => None,
            },
            items: match &schema.items {
                Some(JSONSchemaPropsOrArray::Schema(schema)) => Some(child(schema)),
                Some(JSONSchemaPropsOrArray::Schemas(_)) | None => None,
            },
            required: schema
                .required
                .clone()
                .unwrap_or_default(),
            allowed: schema
                .enum_
                .iter()
                .flatten()
                .map(|value| value.0.clone())
                .collect(),
            most_characters: schema.max_length,
            least_characters: schema.min_length,
            most_items: schema.max_items,
            most_members: schema.max_properties,
            maximum: schema.maximum,
            minimum: schema.minimum,
            // A test ensures that every pattern of the CRDs compiles.
            pattern: schema
                .pattern
                .as_deref()
                .and_then(|pattern| Regex::new(pattern).ok()),
            default: schema
                .default
                .as_ref()
                .map(|value| value.0.clone()),
            keeps_unknown: schema.x_kubernetes_preserve_unknown_fields == Some(true),
            rules: schema
                .x_kubernetes_validations
                .iter()
                .flatten()
                .filter_map(Rule::compile)
                .collect(),
        }
    }

    fn find_unknown(&self, value: &Value, path: &Path<'_>, unknown: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) if !self.keeps_unknown => {
                for (name, value) in members {
                    let path = Path::Member(path, name);
                    match self.member(name) {
                        Some(node) => node.find_unknown(value, &path, unknown),
                        None => {
                            unknown.insert(path.to_string());
                        }
                    }
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    if let Some(node) = &self.items {
                        node.find_unknown(item, &Path::Item(path, index), unknown);
                    }
                }
            }
            _ => {}
        }
    }

    fn member(&self, name: &str) -> Option<&Self> {
        self.properties
            .get(name)
            .or(self.additional.as_deref())
    }

    fn fill(&self, value: &mut Value) {
        match value {
            // Like Go, which writes 5.0 as 5.
            Value::Number(number) => {
                if let Some(whole) = number
                    .as_f64()
                    .and_then(whole)
                    .filter(|_| number.is_f64())
                {
                    *value = Value::from(whole);
                }
            }
            Value::Object(members) => {
                members.retain(|name, value| !(value.is_null() && self.member(name).is_some()));
                for (name, property) in &self.properties {
                    if let Some(default) = &property.default
                        && !members.contains_key(name)
                    {
                        members.insert(name.clone(), default.clone());
                    }
                }
                for (name, value) in members {
                    if let Some(node) = self.member(name) {
                        node.fill(value);
                    }
                }
            }
            Value::Array(items) => {
                for (item, node) in items
                    .iter_mut()
                    .zip(std::iter::repeat(&self.items))
                {
                    if let Some(node) = node {
                        node.fill(item);
                    }
                }
            }
            _ => {}
        }
    }

    fn judge(&self, value: &Value, path: &Path<'_>, causes: &mut Vec<ReviewCause>) {
        self.judge_type(value, path, causes);
        match value {
            Value::String(text) => causes.extend(self.judge_text(text, value, path)),
            Value::Number(number) => self.judge_number(number.as_f64(), value, path, causes),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    if let Some(node) = &self.items {
                        node.judge(item, &Path::Item(path, index), causes);
                    }
                }
                if let Some(most) = self.most_items
                    && items.len() as u64 > most.unsigned_abs()
                {
                    causes.push(ReviewCause::too_many(path, items.len(), most));
                }
            }
            _ => {}
        }
        if !self.allowed.is_empty() && !self.allowed.contains(value) {
            causes.push(ReviewCause::unsupported(path, value, &self.allowed));
        }
        if let Value::Object(members) = value {
            if let Some(most) = self.most_members
                && members.len() as u64 > most.unsigned_abs()
            {
                causes.push(ReviewCause::too_many(path, members.len(), most));
            }
            for (name, value) in members {
                if let Some(node) = self.member(name) {
                    node.judge(value, &Path::Member(path, name), causes);
                }
            }
            for name in &self.required {
                if !members.contains_key(name) {
                    causes.push(ReviewCause::required(&Path::Member(path, name), ""));
                }
            }
        }
    }

    fn judge_type(&self, value: &Value, path: &Path<'_>, causes: &mut Vec<ReviewCause>) {
        let found = type_of(value);
        let is_whole = value
            .as_f64()
            .is_some_and(is_nearly_whole);
        let fits = self.types.is_empty()
            || self.types.contains(&found)
            || (found == "number" && is_whole && self.types.contains(&"integer"))
            || (found == "integer" && self.types.contains(&"number"));
        if fits {
            return;
        }
        match &self.format {
            // The types of numbers and booleans are named by their format, if one is required.
            Some(format) if matches!(value, Value::Number(_) | Value::Bool(_)) => {
                let found = match found {
                    "number" => "float64",
                    "integer" => "int64",
                    _ => "",
                };
                causes.push(ReviewCause::wrong_type(path, format, found));
            }
            _ => causes.push(ReviewCause::wrong_type(path, &self.types.join(","), found)),
        }
    }

    fn judge_text(&self, text: &str, value: &Value, path: &Path<'_>) -> Option<ReviewCause> {
        // A text has at most as many characters as bytes, so most need not be counted.
        let length = || i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        if let Some(most) = self.most_characters
            && text.len() as u64 > most.unsigned_abs()
            && length() > most
        {
            return Some(ReviewCause::too_long(path, most));
        }
        if let Some(least) = self.least_characters
            && length() < least
        {
            let rule = format!("should be at least {least} chars long");
            return Some(ReviewCause::against_schema(path, value, &rule));
        }
        let pattern = self.pattern.as_ref()?;
        (!pattern.is_match(text)).then(|| {
            let rule = format!("should match '{}'", pattern.as_str());
            ReviewCause::against_schema(path, value, &rule)
        })
    }

    fn judge_number(
        &self,
        number: Option<f64>,
        value: &Value,
        path: &Path<'_>,
        causes: &mut Vec<ReviewCause>,
    ) {
        let Some(number) = number else { return };
        if let Some(format) = self.format.as_deref()
            && !is_of_format(number, format)
        {
            let detail =
                format!("Checked value must be of type integer with format {format} in {path}");
            causes.push(ReviewCause::invalid(
                "<nil>",
                Some(&Value::from("")),
                &detail,
            ));
            return;
        }
        if let Some(most) = self.maximum
            && number > most
        {
            let rule = format!("should be less than or equal to {most}");
            causes.push(ReviewCause::against_schema(path, value, &rule));
        }
        if let Some(least) = self.minimum
            && number < least
        {
            let rule = format!("should be greater than or equal to {least}");
            causes.push(ReviewCause::against_schema(path, value, &rule));
        }
    }

    fn judge_rules(&self, value: &Value, path: &Path<'_>, causes: &mut Vec<ReviewCause>) {
        if value.is_null() {
            return;
        }
        causes.extend(
            self.rules
                .iter()
                .filter_map(|rule| rule.judge(value, path)),
        );
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    if let Some(node) = self.properties.get(name) {
                        node.judge_rules(value, &Path::Member(path, name), causes);
                    } else if let Some(node) = &self.additional {
                        node.judge_rules(value, &Path::Key(path, name), causes);
                    }
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    if let Some(node) = &self.items {
                        node.judge_rules(item, &Path::Item(path, index), causes);
                    }
                }
            }
            _ => {}
        }
    }
}

/// A number without a fraction, within the range in which a float is exact.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the range is checked, and there is no fraction"
)]
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() < EXACT).then_some(number as i64)
}

/// True if the API server takes a number for an integer (`IsFloat64AJSONInteger` in
/// `github.com/go-openapi/swag`).
fn is_nearly_whole(number: f64) -> bool {
    const LARGEST: f64 = 9_007_199_254_740_991.0;
    const PRECISION: f64 = 1e-9;
    if number.abs() > LARGEST {
        return false;
    }
    let whole = number.trunc();
    let sum = number.abs() + whole.abs();
    number.fract() == 0.0 || (whole != 0.0 && number.fract().abs() / sum < PRECISION)
}

fn is_of_format(number: f64, format: &str) -> bool {
    match format {
        "int32" => {
            number.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number)
        }
        "int64" => number.fract() == 0.0,
        _ => true,
    }
}

fn known_type(word: &str) -> Option<&'static str> {
    ["array", "boolean", "integer", "number", "object", "string"]
        .into_iter()
        .find(|known| *known == word)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_pattern_and_every_rule_of_the_crds_is_understood() {
        fn count(schema: &JSONSchemaProps) -> (usize, usize) {
            let children = schema
                .properties
                .iter()
                .flat_map(BTreeMap::values)
                .chain(match &schema.items {
                    Some(JSONSchemaPropsOrArray::Schema(schema)) => Some(&**schema),
                    _ => None,
                })
                .chain(match &schema.additional_properties {
                    Some(JSONSchemaPropsOrBool::Schema(schema)) => Some(&**schema),
                    _ => None,
                });
            let own = (
                usize::from(schema.pattern.is_some()),
                schema
                    .x_kubernetes_validations
                    .iter()
                    .flatten()
                    .count(),
            );
            children
                .map(count)
                .fold(own, |sum, one| (sum.0 + one.0, sum.1 + one.1))
        }
        fn understood(node: &Node) -> (usize, usize) {
            let own = (usize::from(node.pattern.is_some()), node.rules.len());
            node.properties
                .values()
                .chain(node.items.as_deref())
                .chain(node.additional.as_deref())
                .map(understood)
                .fold(own, |sum, one| (sum.0 + one.0, sum.1 + one.1))
        }
        // Only the manager writes Rejections, and their schema has neither.
        let authored = api::crds()
            .into_iter()
            .filter(|crd| crd.spec.names.kind != "Rejection");
        for crd in authored {
            let version = crd.spec.versions[0].clone();
            let schema = version
                .schema
                .unwrap()
                .open_api_v3_schema
                .unwrap();
            let wanted = count(&schema);
            assert!(wanted.0 > 0 && wanted.1 > 0);
            let kind = &crd.spec.names.kind;
            assert_eq!(
                understood(&Schema::of(kind).unwrap().root),
                wanted,
                "{kind}"
            );
        }
    }

    #[test]
    fn the_schemas_use_nothing_that_is_not_judged_here() {
        fn check(schema: &JSONSchemaProps) {
            // A new limit in the CRDs has to be implemented here first.
            let unjudged = [
                schema.min_items.is_some(),
                schema.unique_items.is_some(),
                schema.min_properties.is_some(),
                schema.multiple_of.is_some(),
                schema.exclusive_maximum.is_some(),
                schema.exclusive_minimum.is_some(),
                schema.one_of.is_some(),
                schema.any_of.is_some(),
                schema.all_of.is_some(),
                schema.not.is_some(),
                schema.nullable.is_some(),
                schema
                    .x_kubernetes_embedded_resource
                    .is_some(),
            ];
            assert!(!unjudged.contains(&true), "{schema:?}");
            for property in schema
                .properties
                .iter()
                .flat_map(BTreeMap::values)
            {
                check(property);
            }
            if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
                check(items);
            }
            if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
                check(values);
            }
        }
        for crd in api::crds() {
            let version = crd.spec.versions[0].clone();
            let mut schema = version
                .schema
                .unwrap()
                .open_api_v3_schema
                .unwrap();
            // A new object has no status, so its schema is never used.
            if let Some(properties) = &mut schema.properties {
                properties.remove("status");
            }
            check(&schema);
        }
    }

    #[test]
    fn defaults_are_set_and_nulls_are_dropped() {
        let mut agent = json!({"spec": {
            "runtime": "Codex", "mode": null, "image": null, "sessionRecording": {},
            "tolerations": [{"tolerationSeconds": 5.0}],
        }});
        Schema::of("Agent")
            .unwrap()
            .fill(&mut agent);
        let expected = json!({"spec": {
            "runtime": "Codex", "mode": "supervised", "paused": true,
            "sessionRecording": {"enabled": false}, "tolerations": [{"tolerationSeconds": 5}],
        }});
        assert_eq!(agent, expected);
    }
}
