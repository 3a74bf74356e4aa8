//! Makes objects that the schema of a CRD admits, and some that it nearly does, from a seed.

use agentkube::api;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::{Map, Number, Value, json};

/// Random numbers that a seed repeats (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, odds: u64) -> bool {
        self.below(odds) == 0
    }

    fn choose<'c, T>(&mut self, choices: &'c [T]) -> &'c T {
        let index = usize::try_from(self.below(choices.len() as u64)).unwrap_or_default();
        &choices[index]
    }
}

/// The schema of `spec` of a kind.
pub(crate) fn spec_schema(kind: &str) -> JSONSchemaProps {
    api::crds()
        .into_iter()
        .find(|crd| crd.spec.names.kind == kind)
        .and_then(|crd| {
            let version = crd.spec.versions.into_iter().next()?;
            let mut properties = version
                .schema?
                .open_api_v3_schema?
                .properties?;
            properties.remove("spec")
        })
        .expect("the CRD has a spec")
}

/// An object of this kind.
pub(crate) fn object(kind: &str, schema: &JSONSchemaProps, random: &mut Random) -> Value {
    let mut spec = members(schema, random);
    // What the schema cannot say and everything would be refused for.
    spec["image"] = json!("quay.io/team/image:v1");
    if let Some(goal) = spec.get_mut("goal") {
        *goal = json!({"inline": text(64, random)});
    }
    json!({
        "apiVersion": "agentkube.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": format!("a{}", random.next())},
        "spec": spec,
    })
}

fn value(name: &str, schema: &JSONSchemaProps, random: &mut Random) -> Value {
    if random.one_in(200) {
        return odd(random);
    }
    if let Some(words) = &schema.enum_ {
        return random.choose(words).0.clone();
    }
    if schema.x_kubernetes_int_or_string == Some(true) {
        return if random.one_in(2) {
            number(schema, random)
        } else {
            amount(name, random)
        };
    }
    match schema.type_.as_deref() {
        Some("boolean") => json!(random.one_in(2)),
        Some("integer" | "number") => number(schema, random),
        Some("string") => string(name, schema, random),
        Some("array") => list(name, schema, random),
        _ => members(schema, random),
    }
}

fn list(name: &str, schema: &JSONSchemaProps, random: &mut Random) -> Value {
    let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items else {
        return json!([]);
    };
    (0..random.below(4))
        .map(|_| value(name, item, random))
        .collect()
}

fn members(schema: &JSONSchemaProps, random: &mut Random) -> Value {
    let mut object = Map::new();
    let required = schema
        .required
        .clone()
        .unwrap_or_default();
    for (name, property) in schema.properties.iter().flatten() {
        if required.contains(name) || random.one_in(3) {
            object.insert(name.clone(), value(name, property, random));
        }
    }
    if let Some(JSONSchemaPropsOrBool::Schema(member)) = &schema.additional_properties {
        for _ in 0..random.below(4) {
            let name = *random.choose(&["cpu", "memory", "example.com/a", "pool", "", "ü"]);
            object.insert(name.to_owned(), value(name, member, random));
        }
    }
    Value::Object(object)
}

fn number(schema: &JSONSchemaProps, random: &mut Random) -> Value {
    let whole = *random.choose(&[
        0,
        1,
        -1,
        5,
        80,
        8080,
        65535,
        65536,
        i64::from(i32::MAX),
        i64::from(i32::MAX) + 1,
        i64::from(i32::MIN),
        3_000_000_000,
        9_007_199_254_740_993,
        i64::MAX,
        i64::MIN,
    ]);
    if random.one_in(3) {
        let base = schema.minimum.unwrap_or(1.0).max(1.0)
            + f64::from(u16::try_from(random.below(1000)).unwrap_or_default());
        let change = *random.choose(&[0.0, 1e-10, -1e-10, 1e-9, 1e-12, 0.5, 1e-300]);
        return Number::from_f64(base + change).map_or(Value::Null, Value::Number);
    }
    if random.one_in(20) {
        return json!(*random.choose(&[1e19, 1e300, -1e19, 1e15, 0.1]));
    }
    if random.one_in(2) {
        return json!(random.below(60_000) + 1);
    }
    json!(whole)
}

fn amount(name: &str, random: &mut Random) -> Value {
    if name == "port" {
        return json!(random.choose(&["http", "8080", "", "a-long-name-of-a-port"]));
    }
    json!(random.choose(&[
        "500m", "2Gi", "1", "1e3", ".5", "+1", "1.5", "-1", "1e-3", "x", "", "1Ei"
    ]))
}

fn string(name: &str, schema: &JSONSchemaProps, random: &mut Random) -> Value {
    match name {
        "idleTimeout" => json!(random.choose(&["90s", "15m", "1h30m", "1.5h", "soon", ""])),
        // References that pass for names.
        "key" | "name" | "serviceAccountName" if !random.one_in(10) => {
            json!(random.choose(&["token", "a", "a-b.c"]))
        }
        // A host in a probe is refused.
        "host" => json!(""),
        _ => json!(text(schema.max_length.unwrap_or(64).min(64), random)),
    }
}

fn text(most: i64, random: &mut Random) -> String {
    let length = random.below(most.unsigned_abs() + 1);
    (0..length)
        .map(|_| {
            random.choose(&[
                'a', 'Z', '0', '-', '.', ' ', '"', '\\', '\n', '\u{1}', 'ü', '語', '😀',
            ])
        })
        .collect()
}

/// Something that no schema asks for in most places.
fn odd(random: &mut Random) -> Value {
    random
        .choose(&[
            Value::Null,
            json!(true),
            json!(-1),
            json!(1.5),
            json!(""),
            json!([]),
            json!({}),
            json!([null]),
            json!({"a": 1}),
        ])
        .clone()
}
