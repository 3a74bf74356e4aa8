#![expect(
    unreachable_pub,
    reason = "the schema derive repeats the struct inside a function"
)]

use k8s_openapi::api::core::v1::Probe;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KeyRef, Status};

/// Something that Agents of the same namespace may use.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "agentkube.io",
    version = "v1alpha1",
    kind = "Tool",
    namespaced,
    status = "Status",
    shortname = "tl",
    category = "agentkube",
    doc = "Something that Agents of the same namespace may use",
    derive = "PartialEq",
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", priority = "1"),
    validation = Rule::new("self.metadata.name.size() <= 63")
        .message("metadata.name must be no more than 63 characters: the labels of the Tool's pod carry the name"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type != 'custom' || (has(self.image) && self.image != '')")
        .message("type custom has no default image (hint: set spec.image to the image this Tool should run)")
        .reason(kube::core::cel::Reason::FieldValueRequired)
        .field_path(".image"),
    validation = Rule::new("!has(self.probe) || !has(self.probe.httpGet) || !has(self.probe.httpGet.host) || self.probe.httpGet.host.size() == 0")
        .message("a probe asks the Tool's own pod and no other host (hint: remove it)")
        .field_path(".probe.httpGet.host"),
    validation = Rule::new("!has(self.probe) || !has(self.probe.tcpSocket) || !has(self.probe.tcpSocket.host) || self.probe.tcpSocket.host.size() == 0")
        .message("a probe asks the Tool's own pod and no other host (hint: remove it)")
        .field_path(".probe.tcpSocket.host")
)]
pub struct ToolSpec {
    /// What kind of thing it is.
    #[serde(rename = "type")]
    pub type_: ToolType,
    /// The image to run, verbatim. Required for type custom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub image: Option<String>,
    /// What it is for, in a person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub description: Option<String>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 253)))]
    pub tags: Vec<String>,
    /// Readiness probe of a custom Tool's container. It may name no host: the kubelet asks the Tool's own
    /// pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// How to reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ToolConfig>,
    /// How long a connection may be idle: `90s`, `15m`, `1h30m`.
    #[serde(default = "idle_timeout")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub idle_timeout: String,
}

/// How a Tool is reached.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolConfig {
    /// Host name or address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub hostname: Option<String>,
    /// TCP port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// User to connect as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub username: Option<String>,
    /// Database to open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub database_name: Option<String>,
    /// TLS mode, in the words of the Tool's own driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub ssl_mode: Option<String>,
    /// The Secret and key that hold the password or token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<KeyRef>,
}

/// Declares [`ToolType`] and its words from one list.
macro_rules! tool_types {
    ($($variant:ident = $word:literal),+ $(,)?) => {
        /// What kind of thing a Tool is.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
        #[expect(missing_docs, reason = "each variant is the product of its name")]
        pub enum ToolType {
            $(#[serde(rename = $word)] $variant),+
        }

        impl ToolType {
            /// Every type, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The value of `spec.type`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }
    };
}

tool_types! {
    Ssh = "ssh",
    Postgres = "postgres",
    Mysql = "mysql",
    Sqlserver = "sqlserver",
    Mongodb = "mongodb",
    Redis = "redis",
    Clickhouse = "clickhouse",
    Kubernetes = "kubernetes",
    Http = "http",
    Snowflake = "snowflake",
    Bigquery = "bigquery",
    Elasticsearch = "elasticsearch",
    Kafka = "kafka",
    Oracle = "oracle",
    Cockroachdb = "cockroachdb",
    Redshift = "redshift",
    Rabbitmq = "rabbitmq",
    Custom = "custom",
}

fn idle_timeout() -> String {
    "15m".to_owned()
}
