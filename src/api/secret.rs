use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One key of a Secret or ConfigMap in the same namespace.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct KeyRef {
    /// Name of the object, a DNS subdomain.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A Secret in the same namespace.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct LocalRef {
    /// Name of the Secret, a DNS subdomain.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
