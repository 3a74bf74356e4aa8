use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::{
    api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Compute resources of the agent container, as in a pod's `resources`.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Resources {
    /// The most that the container may use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub limits: BTreeMap<String, Amount>,
    /// What the scheduler reserves for it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub requests: BTreeMap<String, Amount>,
}

impl From<&Resources> for ResourceRequirements {
    fn from(resources: &Resources) -> Self {
        let amounts = |map: &BTreeMap<String, Amount>| {
            (!map.is_empty()).then(|| {
                map.iter()
                    .map(|(name, amount)| (name.clone(), amount.into()))
                    .collect()
            })
        };
        Self {
            limits: amounts(&resources.limits),
            requests: amounts(&resources.requests),
            claims: None,
        }
    }
}

/// A Kubernetes quantity as people write it: `500m`, `2Gi`, or a plain integer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Amount {
    /// A plain integer: cores, or bytes.
    Number(i64),
    /// A number with a unit.
    Text(String),
}

impl From<&Amount> for Quantity {
    fn from(amount: &Amount) -> Self {
        match amount {
            Amount::Number(number) => Self(number.to_string()),
            Amount::Text(text) => Self(text.clone()),
        }
    }
}

impl JsonSchema for Amount {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    /// The pattern is that of Kubernetes' own CRD generator for a quantity.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": 64,
            "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
        })
    }
}
