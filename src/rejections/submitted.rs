//! The stored part of a refused object's spec. It is read in one pass that leaves out what looks
//! like a credential, and what is too long.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};

use super::{
    encoded::{cut, encoded_text},
    redact::{REDACTED, is_secret_name, redact},
};
use crate::admission::names;

/// The size limit of a spec, in bytes as stored.
const LONGEST: usize = 8 * 1024;
/// The size limit of one text, in bytes as stored.
const LONGEST_TEXT: usize = 1024;
/// The largest size of a number. Go writes a float in up to 24 characters.
const LONGEST_NUMBER: usize = 24;
/// Two quotes.
const QUOTES: usize = 2;
/// The brackets or braces of a list or an object. Each item inside also takes a comma, and each
/// member a colon and a comma.
const BRACKETS: usize = 2;
/// The replacement for a text or a value without room.
const CUT: &str = "…";
/// The number of characters that are read beyond the end of the kept text, so that a credential is
/// not cut in two and missed.
const LOOK_AHEAD: usize = 512;

/// A spec to be stored.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Submitted {
    pub(super) value: Option<Value>,
    pub(super) is_truncated: bool,
}

/// The spec of an object; `None` if it has none, or one that is not an object.
pub(super) fn spec_of(object: &RawValue) -> Option<Submitted> {
    #[derive(Deserialize)]
    struct Object<'a> {
        #[serde(borrow)]
        spec: Option<&'a RawValue>,
    }
    let spec = serde_json::from_str::<Object<'_>>(object.get())
        .ok()?
        .spec?;
    let mut kept = Kept {
        budget: LONGEST,
        is_truncated: false,
    };
    let seed = Part {
        kept: &mut kept,
        place: SubmittedPlace::Ordinary,
    };
    let value = seed
        .deserialize(&mut serde_json::Deserializer::from_str(spec.get()))
        .ok()?;
    value.is_object().then_some(Submitted {
        value: Some(value),
        is_truncated: kept.is_truncated,
    })
}

/// The budget of bytes that may still be kept.
struct Kept {
    budget: usize,
    is_truncated: bool,
}

impl Kept {
    /// Takes this many bytes. Returns false if there is no room for them.
    fn take(&mut self, bytes: usize) -> bool {
        let has_room = bytes <= self.budget;
        if has_room {
            self.budget -= bytes;
        } else {
            self.budget = 0;
            self.is_truncated = true;
        }
        has_room
    }
}

/// The meaning of a value, known from its place.
#[derive(Clone, Copy, PartialEq)]
enum SubmittedPlace {
    /// The name of a Secret's key.
    DataKey,
    /// The name of a referenced object.
    Name,
    Ordinary,
    /// Inside of a reference to another object.
    Reference,
    /// Under a name that announces a credential.
    Secret,
}

impl SubmittedPlace {
    /// The place of a member with this name.
    fn member(self, name: &str) -> Self {
        match name {
            "key" if self == Self::Reference => Self::DataKey,
            "name" if self == Self::Reference => Self::Name,
            _ if name.ends_with("Ref") => Self::Reference,
            _ if is_secret_name(name) => Self::Secret,
            _ => Self::Ordinary,
        }
    }
}

/// A value of a spec, with its place.
struct Part<'k> {
    kept: &'k mut Kept,
    place: SubmittedPlace,
}

impl Part<'_> {
    fn scalar(self, value: Value) -> Value {
        if self.place == SubmittedPlace::Secret && !value.is_null() {
            return self.quoted(REDACTED);
        }
        let bytes = if value.is_number() {
            LONGEST_NUMBER
        } else {
            "false".len()
        };
        self.kept.take(bytes);
        value
    }

    fn text(self, text: &str) -> Value {
        let is_kept_back = match self.place {
            SubmittedPlace::DataKey => !names::is_data_key(text),
            SubmittedPlace::Name => !names::is_subdomain(text),
            SubmittedPlace::Ordinary | SubmittedPlace::Reference => false,
            SubmittedPlace::Secret => true,
        };
        if is_kept_back && !text.is_empty() {
            return self.quoted(REDACTED);
        }
        let redacted = redact(beginning(text, LONGEST_TEXT + LOOK_AHEAD));
        let (kept, is_cut) = cut(&redacted, LONGEST_TEXT);
        self.kept.is_truncated |= is_cut;
        if is_cut {
            self.quoted(&format!("{kept}{CUT}"))
        } else {
            self.quoted(kept)
        }
    }

    /// A text, if there is room for it.
    fn quoted(self, text: &str) -> Value {
        let has_room = self
            .kept
            .take(encoded_text(text) + QUOTES);
        Value::from(if has_room { text } else { CUT })
    }
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(self.scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(self.scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(self.scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(self.scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(self.scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(self.text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let Self { kept, place } = self;
        let mut list = Vec::new();
        kept.take(BRACKETS);
        while kept.take(1) {
            let is_announced = list
                .last()
                .and_then(Value::as_str)
                .is_some_and(announces);
            let part = Part {
                kept: &mut *kept,
                place: if is_announced {
                    SubmittedPlace::Secret
                } else {
                    place
                },
            };
            match items.next_element_seed(part)? {
                Some(item) => list.push(item),
                None => return Ok(list.into()),
            }
        }
        while items
            .next_element::<IgnoredAny>()?
            .is_some()
        {}
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let Self { kept, place } = self;
        let mut object = Map::new();
        kept.take(BRACKETS);
        while let Some(name) = members.next_key::<String>()? {
            // A name can be a credential, too.
            let shown = redact(&name);
            if !kept.take(encoded_text(&shown) + QUOTES + 2) {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            let part = Part {
                kept: &mut *kept,
                place: place.member(&name),
            };
            let value = members.next_value_seed(part)?;
            object.insert(shown.into_owned(), value);
        }
        if redact_variable(&mut object) {
            kept.take(REDACTED.len() + QUOTES);
        }
        Ok(object.into())
    }
}

/// Redacts a container's variable whose name announces a credential:
/// `{name: DB_PASSWORD, value: …}`. Returns true if it did.
fn redact_variable(object: &mut Map<String, Value>) -> bool {
    let is_secret = object
        .get("name")
        .and_then(Value::as_str)
        .is_some_and(|name| is_secret_name(name) || name.ends_with("_KEY"));
    let value = object
        .get_mut("value")
        .filter(|_| is_secret);
    let is_there = value.is_some();
    if let Some(value) = value {
        *value = Value::from(REDACTED);
    }
    is_there
}

/// True if an argument announces that the next one is a credential: `--token`.
fn announces(argument: &str) -> bool {
    argument.starts_with('-') && is_secret_name(argument)
}

/// The beginning of a text.
fn beginning(text: &str, longest: usize) -> &str {
    match text.char_indices().nth(longest) {
        Some((end, _)) => text.split_at(end).0,
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rejections::encoded::encoded;

    fn submitted(spec: &Value) -> Submitted {
        let object = json!({"metadata": {"name": "bot"}, "spec": spec});
        let object = RawValue::from_string(object.to_string()).unwrap();
        spec_of(&object).unwrap_or_default()
    }

    #[test]
    fn what_holds_no_credential_is_kept_as_it_is() {
        let spec = json!({
            "runtime": "ClaudeCode",
            "paused": false,
            "agentToken": {"secretRef": {"name": "claude-code-token", "key": "token"}},
            "goal": {"inline": "Triage incoming GitHub issues: label, assign."},
            "tools": [{"name": "db"}, {"name": "browser"}],
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "ports": [1, 2.5, -3, null],
        });
        let kept = submitted(&spec);
        assert_eq!(kept.value, Some(spec));
        assert!(!kept.is_truncated);
    }

    #[test]
    fn credentials_are_not_kept_wherever_a_person_could_paste_one() {
        let secret = "hunter2hunter2";
        let spec = json!({
            "agentToken": secret,
            "password": secret,
            "config": {"apiKey": secret, "credentials": [secret, {"deep": "kept"}]},
            "secretRef": {"name": "Not A Name hunter2hunter2", "key": "no/key/hunter2hunter2"},
            "goal": {"inline": format!("log in with password: {secret} and go")},
            "containers": [{
                "args": ["--token", secret, "--password=hunter2hunter2"],
                "env": [
                    {"name": "ANTHROPIC_API_KEY", "value": secret},
                    {"name": "SOME_KEY", "value": secret},
                    {"name": "COLOUR", "value": "green"},
                ],
            }],
            "image": format!("https://robot:{secret}@registry.example.com/app"),
        });
        let kept = submitted(&spec).value.unwrap();
        assert!(!kept.to_string().contains(secret), "{kept:#}");
        assert_eq!(kept["containers"][0]["env"][2]["value"], "green");
        assert_eq!(kept["secretRef"]["name"], REDACTED);
    }

    #[test]
    fn a_long_spec_is_cut_and_says_so() {
        let kept =
            submitted(&json!({"goal": {"inline": "word ".repeat(200_000)}, "runtime": "Codex"}));
        assert!(kept.is_truncated);
        let value = kept.value.unwrap();
        assert_eq!(value["runtime"], "Codex");
        let inline = value["goal"]["inline"]
            .as_str()
            .unwrap();
        assert_eq!(inline.chars().count(), LONGEST_TEXT + 1);

        let many: Vec<_> = (0..100_000)
            .map(|index| json!({"name": format!("tool-{index}")}))
            .collect();
        let kept = submitted(&json!({"tools": many, "runtime": "Codex"}));
        assert!(kept.is_truncated);
        assert!(encoded(&kept.value) <= LONGEST + SLACK);
    }

    /// The allowed excess over the limit: the last value without room, and the ends of the lists
    /// and objects around it.
    const SLACK: usize = 1024;

    #[test]
    fn whatever_a_spec_is_made_of_its_bytes_are_counted_as_they_are_kept() {
        let fill = |item: Value| json!({"list": vec![item; 4_000]});
        let deep = (0..30).fold(json!({}), |inner, _| json!([[inner], {}, "<"]));
        let many_names: Map<_, _> = (0..4_000)
            .map(|index| (format!("\u{1}{index}"), json!(0)))
            .collect();
        for spec in [
            fill(json!({})),
            fill(json!([])),
            fill(json!(null)),
            fill(json!(1e300)),
            fill(json!(u64::MAX)),
            fill(json!("<")),
            fill(json!("\u{0}\u{2028}\"\\".repeat(50))),
            fill(json!({"password": 1})),
            fill(json!({"name": "A_KEY", "value": ""})),
            fill(json!({"secretRef": {"name": "No Name", "key": "/"}})),
            fill(json!("ghp_0123456789abcdefABCDEF0123456789abcd")),
            fill(deep),
            json!({"<&>".repeat(2_000): 1, "runtime": "Codex"}),
            Value::Object(many_names),
        ] {
            let kept = submitted(&spec);
            let beginning: String = spec
                .to_string()
                .chars()
                .take(80)
                .collect();
            assert!(kept.is_truncated, "{beginning}");
            let bytes = encoded(&kept.value);
            assert!(bytes <= LONGEST + SLACK, "{bytes} of {beginning}");
        }
    }

    #[test]
    fn a_credential_at_the_cut_is_not_kept_in_part() {
        let text = format!(
            "{} sk-ant-api03-AbCdEfGhIjKlMnOpQrSt0123456789",
            "x".repeat(LONGEST_TEXT - 20)
        );
        let kept = submitted(&json!({"goal": text}))
            .value
            .unwrap();
        assert!(!kept.to_string().contains("sk-ant"), "{kept}");
    }

    #[test]
    fn an_object_without_a_spec_has_nothing_to_keep() {
        for text in [
            r#"{"metadata":{}}"#,
            r#"{"spec":5}"#,
            r#"{"spec":null}"#,
            "[]",
        ] {
            let object = RawValue::from_string(text.to_owned()).unwrap();
            assert_eq!(spec_of(&object), None, "{text}");
        }
    }
}
