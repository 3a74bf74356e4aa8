//! The runtimes: the rows of the matrix that an Agent may name.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::images::{Component, ComponentKind, Row, nearest, rows};

/// A component that an Agent may name as its runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Runtime(Component);

impl Runtime {
    /// The name in `spec.runtime`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0.as_str()
    }

    /// The runtime as a component.
    #[must_use]
    pub const fn component(self) -> Component {
        self.0
    }

    /// The runtime's row. It always exists, since a [`Runtime`] is only made from a row.
    #[must_use]
    pub fn row(self) -> Option<&'static Row> {
        self.0.row()
    }

    /// The environment variable with the runtime's token; `None` for Custom.
    #[must_use]
    pub fn token(self) -> Option<&'static str> {
        self.row().and_then(|row| row.token)
    }
}

impl FromStr for Runtime {
    type Err = UnknownRuntime;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        runtimes()
            .find(|runtime| runtime.as_str() == name)
            .ok_or_else(|| UnknownRuntime {
                suggestion: nearest(name, runtimes().map(Self::as_str)),
            })
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Runtime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Runtime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl JsonSchema for Runtime {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Runtime".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<_> = runtimes().map(Self::as_str).collect();
        json_schema!({ "type": "string", "enum": names })
    }
}

/// A name that is not a runtime. The author of the Agent has to fix it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no such runtime, supported values: {}", runtime_names())]
pub struct UnknownRuntime {
    /// The runtime that was probably meant.
    pub suggestion: Option<&'static str>,
}

/// The rows that an Agent's `spec.runtime` may name, in the order of the CRD's enum.
pub fn runtimes() -> impl Iterator<Item = Runtime> {
    rows()
        .filter(|row| row.kind == ComponentKind::Runtime)
        .map(|row| Runtime(row.component))
}

fn runtime_names() -> String {
    let names: Vec<_> = runtimes()
        .map(Runtime::as_str)
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_runtimes_parse_as_runtimes() {
        let runtime: Runtime = "ClaudeCode".parse().unwrap();
        assert_eq!(runtime.component(), Component::ClaudeCode);
        assert_eq!(runtime.token(), Some("ANTHROPIC_API_KEY"));
        assert_eq!(
            "Custom"
                .parse::<Runtime>()
                .unwrap()
                .token(),
            None
        );
        for stranger in ["", "Manager", "Agentlet", "Tool", "claudecode", " Codex"] {
            assert!(stranger.parse::<Runtime>().is_err(), "{stranger}");
        }
    }

    #[test]
    fn an_unknown_runtime_lists_them_and_suggests_the_nearest() {
        let error = "codex".parse::<Runtime>().unwrap_err();
        assert_eq!(error.suggestion, Some("Codex"));
        insta::assert_snapshot!(error.to_string());
        assert!(serde_json::from_str::<Runtime>("\"Manager\"").is_err());
    }

    #[test]
    fn the_schema_lists_the_runtimes_of_the_matrix() {
        let schema = schemars::schema_for!(Vec<Runtime>);
        insta::assert_json_snapshot!(schema.get("items").unwrap());
    }
}
