//! Pods and specs as nobody would write them, and every way to write one down.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::select,
};
use serde_json::{Map, Value, json};

use crate::support::controller;

/// The lists of a pod that hold containers.
pub(crate) const CONTAINER_LISTS: [&str; 3] =
    ["containers", "initContainers", "ephemeralContainers"];

/// A pod of the Agent `bot`, and perhaps of the Tool `browser`.
pub(crate) fn pod() -> impl Strategy<Value = Value> {
    (metadata(), spec(), unknown()).prop_map(|(metadata, spec, mut pod)| {
        pod.insert("apiVersion".to_owned(), json!("v1"));
        pod.insert("kind".to_owned(), json!("Pod"));
        pod.insert("metadata".to_owned(), metadata);
        pod.insert("spec".to_owned(), spec);
        Value::Object(pod)
    })
}

/// The spec of an Agent or a Tool, sane in some members and not in others.
pub(crate) fn agent_spec() -> impl Strategy<Value = Value> {
    let member = select(vec![
        "runtime",
        "type",
        "image",
        "imagePullPolicy",
        "imagePullSecrets",
        "agentToken",
        "goal",
        "config",
        "tools",
        "future",
    ]);
    btree_map(member.prop_map(str::to_owned), spec_value(), 0..6).prop_map(|spec| json!(spec))
}

/// The text of a value with the members of every object in another order.
pub(crate) fn shuffled(value: &Value, seed: u64) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| {
                let mut hasher = DefaultHasher::new();
                (seed, name).hash(&mut hasher);
                hasher.finish()
            });
            let members: Vec<_> = members
                .into_iter()
                .map(|(name, value)| format!("{}:{}", json!(name), shuffled(value, seed)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => {
            let items: Vec<_> = items
                .iter()
                .map(|item| shuffled(item, seed))
                .collect();
            format!("[{}]", items.join(","))
        }
        plain => plain.to_string(),
    }
}

fn image() -> impl Strategy<Value = String> {
    let known = select(vec![
        "agentkube.invalid/agent",
        "agentkube.invalid/agentlet",
        "agentkube.invalid/session-recorder",
        "agentkube.invalid/codex",
        "agentkube.invalid/tool",
        "nginx:1.27",
        "registry.example.com/team/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "adaptivelive/codex:v0.3.0",
        "",
    ])
    .prop_map(str::to_owned);
    // What replaces nothing makes a refusal of the whole pod, so it is rare.
    let odd = prop_oneof![
        Just("agentkube.invalid/".to_owned()),
        Just("agentkube.invalid/custom".to_owned()),
        Just("AGENTKUBE.invalid/agent".to_owned()),
        "\\PC{1,8}",
    ];
    prop_oneof![30 => known, 1 => odd]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![6 => "[a-c]{1,2}", 1 => Just(String::new()), 1 => "\\PC{1,6}"]
}

/// Members that this program does not know of, with names that need escaping in a path.
fn unknown() -> impl Strategy<Value = Map<String, Value>> {
    let value = prop_oneof![
        Just(Value::Null),
        "\\PC{0,8}".prop_map(|text| json!({"future": text})),
        vec(any::<i64>(), 0..3).prop_map(|numbers| json!(numbers)),
    ];
    btree_map("x[a-z~/\\\\\"é ]{0,6}", value, 0..3)
        .prop_map(|members| members.into_iter().collect())
}

/// Something, nothing, or the null that clients write for nothing.
fn maybe(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Option<Value>> {
    prop_oneof![4 => value.prop_map(Some), 1 => Just(Some(Value::Null)), 1 => Just(None)]
}

fn object(mut members: Map<String, Value>, known: Vec<(&str, Option<Value>)>) -> Value {
    for (name, value) in known {
        if let Some(value) = value {
            members.insert(name.to_owned(), value);
        }
    }
    Value::Object(members)
}

fn env() -> impl Strategy<Value = Value> {
    let reference = || json!({"secretKeyRef": {"name": "mine", "key": "k"}});
    let entry = prop_oneof![
        6 => name().prop_map(|name| json!({"name": name, "value": "v"})),
        2 => name().prop_map(|name| json!({"name": name, "valueFrom": null})),
        2 => Just(json!({"name": "OPENAI_API_KEY", "valueFrom": reference()})),
        1 => Just(json!({})),
    ];
    let plain = Just(json!([{"name": "OPENAI_API_KEY", "value": "sk-1"}]));
    prop_oneof![20 => vec(entry, 0..3).prop_map(|entries| json!(entries)), 1 => plain]
}

fn container() -> impl Strategy<Value = Value> {
    let policy = select(vec!["Always", "IfNotPresent", "Never", "", "Sometimes"]);
    (
        unknown(),
        option::weighted(0.95, name()),
        maybe(image().prop_map(Value::from)),
        maybe(policy.prop_map(Value::from)),
        maybe(env()),
    )
        .prop_map(|(members, name, image, policy, env)| {
            object(
                members,
                vec![
                    ("name", name.map(Value::from)),
                    ("image", image),
                    ("imagePullPolicy", policy),
                    ("env", env),
                ],
            )
        })
}

fn volume() -> impl Strategy<Value = Value> {
    let source = maybe(image().prop_map(Value::from))
        .prop_map(|reference| object(Map::new(), vec![("reference", reference)]));
    (unknown(), name(), maybe(source)).prop_map(|(members, name, image)| {
        object(
            members,
            vec![("name", Some(Value::from(name))), ("image", image)],
        )
    })
}

fn containers() -> impl Strategy<Value = Option<Value>> {
    maybe(vec(container(), 0..4).prop_map(|list| json!(list)))
}

fn spec() -> impl Strategy<Value = Value> {
    let secret = prop_oneof![
        name().prop_map(|name| json!({"name": name})),
        Just(json!({"name": "mirror"})),
        Just(json!({})),
    ];
    let secrets = maybe(vec(secret, 0..3).prop_map(|list| json!(list)));
    let volumes = maybe(vec(volume(), 0..3).prop_map(|list| json!(list)));
    (
        unknown(),
        containers(),
        containers(),
        containers(),
        volumes,
        secrets,
    )
        .prop_map(|(members, main, init, ephemeral, volumes, secrets)| {
            object(
                members,
                vec![
                    ("containers", main),
                    ("initContainers", init),
                    ("ephemeralContainers", ephemeral),
                    ("volumes", volumes),
                    ("imagePullSecrets", secrets),
                ],
            )
        })
}

fn metadata() -> impl Strategy<Value = Value> {
    let record = prop_oneof![
        Just(json!(
            "[{\"container\":\"a\",\"component\":\"Codex\",\"image\":\"a/b\",\"source\":\"default\"}]"
        )),
        Just(json!("no JSON")),
    ];
    let annotations = (
        btree_map("[a-z~/.é]{0,8}", "\\PC{0,8}", 0..3),
        option::weighted(0.2, record),
    )
        .prop_map(|(annotations, record)| {
            let annotations = annotations
                .into_iter()
                .map(|(name, value)| (name, Value::from(value)))
                .collect();
            object(
                annotations,
                vec![
                    ("agentkube.io/images", record),
                    ("agentkube.io/agent-generation", Some(json!("3"))),
                    ("agentkube.io/tool-generation", Some(json!("3"))),
                ],
            )
        });
    (
        unknown(),
        annotations,
        option::weighted(0.7, Just(json!("browser"))),
        any::<bool>(),
    )
        .prop_map(|(members, annotations, tool, is_tools)| {
            let controller = if is_tools {
                controller("Tool", "browser")
            } else {
                controller("Agent", "bot")
            };
            let labels = object(
                Map::new(),
                vec![
                    ("agentkube.io/agent", Some(json!("bot"))),
                    ("agentkube.io/tool", tool),
                ],
            );
            object(
                members,
                vec![
                    ("name", Some(json!("bot"))),
                    ("namespace", Some(json!("team"))),
                    ("labels", Some(labels)),
                    ("ownerReferences", Some(json!([controller]))),
                    ("annotations", Some(annotations)),
                ],
            )
        })
}

fn spec_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        select(vec![
            "Codex",
            "codx",
            "Custom",
            "custom",
            "ssh",
            "",
            " ",
            "nginx",
            "quay.io/team/app:v1",
            "https://quay.io/app",
            "agentkube.invalid/agent",
            "Always",
            "ghp_0123456789abcdefghijABCDEFGHIJ",
        ])
        .prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(Value::Null),
        Just(json!([])),
        Just(json!([{"name": ""}, {"name": "a"}, {}, null, 1])),
        Just(json!({"secretRef": {"name": "t", "key": "k"}})),
        Just(json!({"secretRef": {"name": "T~/é", "key": null}})),
        Just(json!({"secretRef": []})),
        Just(json!({"inline": "", "configMapKeyRef": {"name": "", "key": ""}})),
    ]
}
