//! The parsed spec of an Agent or Tool. Fields that rules read are kept; all others are only
//! compared with their previous values.

use std::{
    fmt,
    hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState},
    sync::LazyLock,
};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::admission::{
    references::{self, Keep},
    wire::{
        bounded::{short, short_list},
        text::Text,
    },
};

/// Makes the enum of the fields that rules read, with the part kept of each.
macro_rules! judged_fields {
    ($($(#[$doc:meta])* $field:ident = $name:literal $keep:ident,)+) => {
        /// A field that a rule reads.
        ///
        /// [`Spec::judged`] takes no other, so a rule can read no other. An update that changes
        /// none of these fields is not judged.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(in crate::admission) enum Judged {
            $($(#[$doc])* $field,)+
        }

        impl Judged {
            const ALL: &'static [Self] = &[$(Self::$field),+];

            /// The name of the field in the spec.
            const fn name(self) -> &'static str {
                match self {
                    $(Self::$field => $name,)+
                }
            }

            /// The part to keep of the field of this name; `None` if no rule reads it.
            fn keep(name: &str) -> Option<Keep> {
                match name {
                    $($name => Some(Keep::$keep),)+
                    _ => None,
                }
            }
        }
    };
}

judged_fields! {
    AgentToken = "agentToken" All,
    /// Only its `credentialsRef` is kept.
    Config = "config" Members,
    Image = "image" All,
    ImagePullSecrets = "imagePullSecrets" List,
    /// Only its hosts are kept.
    Probe = "probe" Members,
    Runtime = "runtime" All,
    Type = "type" All,
}

/// The field whose hosts are kept.
const PROBE: &str = Judged::Probe.name();
/// The members of a probe that may name a host.
pub(in crate::admission) const PROBE_ACTIONS: [&str; 2] = ["httpGet", "tcpSocket"];
/// The name for an action of a probe while its members are read.
const ACTION: &str = "probe.action";
/// Fields that do not affect the pod. Anyone who may update an Agent can stop it without becoming
/// the author of what it runs.
pub(in crate::admission) const HARMLESS: [&str; 3] = ["description", "paused", "tags"];

/// Random keys of this process, so that nobody can construct two specs with the same fingerprint.
static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The `spec` of an Agent or Tool. Its fields may be of any type, since the API server calls before
/// it validates the schema.
#[derive(Debug, Default)]
pub(in crate::admission) struct Spec {
    kept: Map<String, Value>,
    /// A fingerprint of all other fields, except the harmless ones.
    rest: u64,
    /// The size of the whole spec, as JSON without spaces.
    bytes: usize,
}

impl Spec {
    /// The value of a field that rules read; null if it is not set.
    pub(in crate::admission) fn judged(&self, field: Judged) -> &Value {
        self.kept(field.name())
    }

    /// The kept part of a field; null if it is not set.
    pub(in crate::admission) fn kept(&self, name: &str) -> &Value {
        self.kept
            .get(name)
            .unwrap_or(&Value::Null)
    }

    /// The size of the spec in bytes, as JSON without spaces. Every number counts as the longest
    /// one.
    pub(in crate::admission) fn bytes(&self) -> usize {
        self.bytes
    }

    /// True if every field that rules read is the same in both.
    pub(in crate::admission) fn is_judged_as(&self, other: &Self) -> bool {
        Judged::ALL
            .iter()
            .all(|&field| self.judged(field) == other.judged(field))
    }

    /// True if no field that affects what runs differs.
    pub(in crate::admission) fn steers_the_same_as(&self, other: &Self) -> bool {
        self.kept == other.kept && self.rest == other.rest
    }
}

impl<'de> Deserialize<'de> for Spec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Spec;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Spec, A::Error> {
        let mut kept = Map::new();
        let mut hasher = KEYS.build_hasher();
        let mut harmless = KEYS.build_hasher();
        let mut size = Size(BRACKETS);
        while let Some(name) = members.next_key::<Text<'de>>()? {
            let name = name.as_str();
            size.member(name);
            if HARMLESS.contains(&name) {
                members.next_value_seed(Fingerprint {
                    hasher: &mut harmless,
                    size: &mut size,
                    keep: None,
                })?;
                continue;
            }
            let keep = Judged::keep(name).unwrap_or_else(|| references::keep(name));
            let value = match keep {
                Keep::All => {
                    let value = members.next_value_seed(Short)?;
                    size.value(&value);
                    value
                }
                Keep::List => {
                    let value = members.next_value_seed(ShortList)?;
                    size.value(&value);
                    value
                }
                Keep::Members | Keep::Nothing => {
                    name.hash(&mut hasher);
                    let mut named = Map::new();
                    let keep = matches!(keep, Keep::Members).then_some((name, &mut named));
                    members.next_value_seed(Fingerprint {
                        hasher: &mut hasher,
                        size: &mut size,
                        keep,
                    })?;
                    if named.is_empty() {
                        continue;
                    }
                    Value::Object(named)
                }
            };
            kept.insert(name.to_owned(), value);
        }
        Ok(Spec {
            kept,
            rest: hasher.finish(),
            bytes: size.0,
        })
    }
}

/// A short value of any type.
struct Short;

impl<'de> DeserializeSeed<'de> for Short {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        short(deserializer)
    }
}

/// A short list.
struct ShortList;

impl<'de> DeserializeSeed<'de> for ShortList {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        short_list(deserializer)
    }
}

/// Computes the fingerprint of a value and keeps only the members of a map that lead to names.
struct Fingerprint<'h> {
    hasher: &'h mut DefaultHasher,
    size: &'h mut Size,
    /// The name of the map, and the place for the kept members.
    keep: Option<(&'h str, &'h mut Map<String, Value>)>,
}

impl<'de> DeserializeSeed<'de> for Fingerprint<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fingerprint<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.size.0 += WORD;
        0_u8.hash(self.hasher);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.size.0 += WORD;
        (1_u8, value).hash(self.hasher);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.size.0 += NUMBER;
        (2_u8, value).hash(self.hasher);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.size.0 += NUMBER;
        (3_u8, value).hash(self.hasher);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.size.0 += NUMBER;
        (4_u8, value.to_bits()).hash(self.hasher);
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.size.text(value);
        (5_u8, value).hash(self.hasher);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { hasher, size, .. } = self;
        size.0 += BRACKETS;
        6_u8.hash(hasher);
        while items
            .next_element_seed(Fingerprint {
                hasher: &mut *hasher,
                size: &mut *size,
                keep: None,
            })?
            .is_some()
        {
            size.0 += COMMA;
        }
        7_u8.hash(hasher);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self {
            hasher,
            size,
            mut keep,
        } = self;
        size.0 += BRACKETS;
        8_u8.hash(hasher);
        while let Some(name) = members.next_key::<Text<'de>>()? {
            size.member(name.as_str());
            match &mut keep {
                Some((PROBE, kept)) if PROBE_ACTIONS.contains(&name.as_str()) => {
                    name.as_str().hash(hasher);
                    let mut hosts = Map::new();
                    members.next_value_seed(Fingerprint {
                        hasher: &mut *hasher,
                        size: &mut *size,
                        keep: Some((ACTION, &mut hosts)),
                    })?;
                    if !hosts.is_empty() {
                        kept.insert(name.as_str().to_owned(), Value::Object(hosts));
                    }
                }
                Some((field, kept))
                    if (*field == ACTION && name.as_str() == "host")
                        || references::is_kept(field, name.as_str()) =>
                {
                    let value = members.next_value_seed(Short)?;
                    size.value(&value);
                    if value.is_null() {
                        kept.remove(name.as_str());
                    } else {
                        kept.insert(name.as_str().to_owned(), value);
                    }
                }
                _ => {
                    name.as_str().hash(hasher);
                    members.next_value_seed(Fingerprint {
                        hasher: &mut *hasher,
                        size: &mut *size,
                        keep: None,
                    })?;
                }
            }
        }
        9_u8.hash(hasher);
        Ok(())
    }
}

/// `{}` or `[]`.
const BRACKETS: usize = 2;
/// The byte after a member or an item.
const COMMA: usize = 1;
/// `null`, `true` or `false`.
const WORD: usize = 5;
/// The longest number.
const NUMBER: usize = 20;

/// The size of a value in bytes, as JSON without spaces, or slightly more.
struct Size(usize);

impl Size {
    /// Adds a name with its quotes and colon.
    fn member(&mut self, name: &str) {
        const COLON: usize = 1;
        self.text(name);
        self.0 += COLON + COMMA;
    }

    fn text(&mut self, text: &str) {
        const QUOTES: usize = 2;
        let escaped = |byte: u8| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
            0x00..0x20 => 6,
            _ => 1,
        };
        self.0 += QUOTES + text.bytes().map(escaped).sum::<usize>();
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Null | Value::Bool(_) => self.0 += WORD,
            Value::Number(_) => self.0 += NUMBER,
            Value::String(text) => self.text(text),
            Value::Array(items) => {
                self.0 += BRACKETS + items.len() * COMMA;
                for item in items {
                    self.value(item);
                }
            }
            Value::Object(members) => {
                self.0 += BRACKETS;
                for (name, value) in members {
                    self.member(name);
                    self.value(value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(value: &Value) -> Spec {
        let read = Spec::deserialize(value).unwrap();
        let written: Spec = serde_json::from_str(&value.to_string()).unwrap();
        assert!(read.steers_the_same_as(&written), "{value}");
        read
    }

    #[test]
    fn what_is_judged_is_kept_and_nothing_else() {
        let spec = spec(&json!({
            "runtime": "Codex", "paused": false, "nodeSelector": {"a": "b"},
            "goal": {"inline": "x", "configMapKeyRef": {"name": "n", "key": "k"}},
            "config": {"hostname": "h"},
        }));
        assert_eq!(spec.judged(Judged::Runtime), "Codex");
        assert_eq!(
            spec.kept("goal"),
            &json!({"configMapKeyRef": {"name": "n", "key": "k"}})
        );
        for name in ["config", "image", "nodeSelector", "paused"] {
            assert!(spec.kept(name).is_null(), "{name}");
        }
    }

    #[test]
    fn every_name_is_one_of_a_field() {
        let fields: Vec<String> = crate::api::crds()
            .iter()
            .filter_map(|crd| {
                let crd = serde_json::to_value(crd).unwrap();
                let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
                let fields = schema["properties"]["spec"]["properties"].as_object()?;
                Some(
                    fields
                        .keys()
                        .cloned()
                        .collect::<Vec<_>>(),
                )
            })
            .flatten()
            .collect();
        let judged = Judged::ALL
            .iter()
            .map(|field| field.name());
        for name in judged.chain(HARMLESS) {
            assert!(fields.iter().any(|field| field == name), "{name}");
        }
    }

    #[test]
    fn every_change_shows_but_what_steers_nothing() {
        let base = json!({
            "runtime": "Codex", "goal": {"inline": "x"}, "tools": [{"name": "a"}, {"name": "b"}],
            "resources": {"limits": {"cpu": 1}}, "paused": true,
        });
        let with = |pointer: &str, value: Value| {
            let mut changed = base.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            spec(&base).steers_the_same_as(&spec(&changed))
        };
        assert!(with("/paused", json!(false)));
        for (pointer, value) in [
            ("/runtime", json!("Goose")),
            ("/goal/inline", json!("y")),
            (
                "/goal",
                json!({"configMapKeyRef": {"name": "n", "key": "k"}}),
            ),
            ("/tools", json!([{"name": "a"}])),
            ("/tools", json!([{"name": "b"}, {"name": "a"}])),
            ("/resources/limits/cpu", json!("1")),
            ("/resources/limits/cpu", json!(null)),
            ("/resources", json!([])),
        ] {
            assert!(!with(pointer, value.clone()), "{pointer} {value}");
        }
    }

    #[test]
    fn the_size_is_that_of_the_json() {
        for value in [
            json!({}),
            json!({"runtime": "Codex", "agentToken": {"secretRef": {"name": "a", "key": "b"}}}),
            json!({"imagePullSecrets": [{"name": "a"}, {"name": "b"}], "paused": true, "tags": ["x"]}),
            json!({"goal": {"inline": "a\"b\\c\n\u{1}ü語", "configMapKeyRef": {"name": "n", "key": "k"}}}),
            json!({"nodeSelector": {"a": "b"}, "tools": [], "config": {"port": 5432, "x": null}}),
        ] {
            let written = value.to_string().len();
            let bytes = spec(&value).bytes();
            assert!(
                (written..=written + 40).contains(&bytes),
                "{value}: {written}, counted as {bytes}"
            );
        }
    }

    #[test]
    fn of_a_probe_the_hosts_are_kept_however_long_it_is() {
        let probe = |host: &str| {
            let headers = vec![json!({"name": "a", "value": "x".repeat(4096)}); 8];
            let mut http_get = json!({"port": 80, "httpHeaders": headers});
            if !host.is_empty() {
                http_get["host"] = json!(host);
            }
            spec(&json!({"type": "custom", "probe": {"httpGet": http_get}}))
        };
        assert_eq!(
            probe("h").judged(Judged::Probe),
            &json!({"httpGet": {"host": "h"}})
        );
        assert!(
            probe("")
                .judged(Judged::Probe)
                .is_null()
        );
        assert!(!probe("h").steers_the_same_as(&probe("i")));
        assert!(!probe("h").steers_the_same_as(&probe("")));
    }

    #[test]
    fn a_judged_field_that_is_too_long_is_an_error_and_others_may_be_long() {
        let long = "x".repeat(100_000);
        assert!(Spec::deserialize(&json!({"image": long})).is_err());
        assert!(Spec::deserialize(&json!({"goal": {"inline": long}, "tags": [long]})).is_ok());
    }
}
