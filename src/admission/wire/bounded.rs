//! Bounded deserialization: the author of an object cannot choose how much memory its parts take.
//!
//! JSON is denser than what it is read into: the 3 bytes of `{},` would become a container of 200
//! bytes. So the limit on the body is not enough.

use std::{fmt, marker::PhantomData, ops::Deref};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::text::Text;
use crate::{
    api::{
        AGENT_GENERATION_ANNOTATION, AGENT_LABEL, IMAGES_ANNOTATION, MIRROR_POD_ANNOTATION,
        TOOL_GENERATION_ANNOTATION, TOOL_LABEL,
    },
    images::runtimes,
};

/// The most entries of a list: containers, volumes and pull secrets of a pod.
pub const MOST_ENTRIES: usize = 1024;

/// The size limit of a judged field of an Agent or Tool, in bytes of JSON.
pub const LONGEST_FIELD_BYTES: usize = 4 * 1024;

/// The size limit of a list, with room for as many names as the schema allows, each of the longest.
pub const LONGEST_LIST_BYTES: usize = 32 * 1024;

/// The prefix of errors about exceeded limits.
pub(in crate::admission) const TOO_MUCH: &str = "too much";

/// A list of at most [`MOST_ENTRIES`].
#[derive(Debug)]
pub(in crate::admission) struct Few<T>(Vec<T>);

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'f, T> IntoIterator for &'f Few<T> {
    type Item = &'f T;
    type IntoIter = std::slice::Iter<'f, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Few<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Few<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = list.next_element()? {
                    if entries.len() == MOST_ENTRIES {
                        return Err(A::Error::custom(TOO_MUCH));
                    }
                    entries.push(entry);
                }
                Ok(Few(entries))
            }
        }

        deserializer.deserialize_seq(Entries(PhantomData))
    }
}

/// The labels or annotations that are read.
#[derive(Debug)]
pub(in crate::admission) struct Known<'a>(Vec<(Text<'a>, Text<'a>)>);

impl Known<'_> {
    /// The value of this name; the last one if there are several.
    pub(in crate::admission) fn value(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known.as_str() == name)
            .map(|(_, value)| value.as_str())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Known<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Known<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Known<'de>, A::Error> {
                let mut known: Vec<(Text<'de>, Text<'de>)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    if is_known(name.as_str()) {
                        known.retain(|(earlier, _)| *earlier != name);
                        known.push((name, value));
                    }
                }
                Ok(Known(known))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

fn is_known(name: &str) -> bool {
    [
        AGENT_LABEL,
        TOOL_LABEL,
        IMAGES_ANNOTATION,
        AGENT_GENERATION_ANNOTATION,
        TOOL_GENERATION_ANNOTATION,
        MIRROR_POD_ANNOTATION,
    ]
    .contains(&name)
}

/// The token variables of a container's environment: for each name the first one with a literal
/// value, and the first one without.
#[derive(Debug)]
pub(in crate::admission) struct Tokens<'a>(Vec<TokenVariable<'a>>);

/// An environment variable that holds a token.
#[derive(Debug)]
pub(in crate::admission) struct TokenVariable<'a> {
    /// The index in the environment.
    pub(in crate::admission) index: usize,
    pub(in crate::admission) name: Text<'a>,
    /// True if the value comes from another source and is not a literal.
    pub(in crate::admission) has_source: bool,
}

impl<'a> Deref for Tokens<'a> {
    type Target = [TokenVariable<'a>];

    fn deref(&self) -> &[TokenVariable<'a>] {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Tokens<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Variable<'a> {
            #[serde(borrow)]
            name: Text<'a>,
            value_from: Option<serde::de::IgnoredAny>,
        }

        struct Variables;

        impl<'de> Visitor<'de> for Variables {
            type Value = Tokens<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of variables")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tokens<'de>, A::Error> {
                let mut tokens: Vec<TokenVariable<'de>> = Vec::new();
                let mut index = 0;
                while let Some(Variable { name, value_from }) = list.next_element()? {
                    let has_source = value_from.is_some();
                    let is_repeated = tokens
                        .iter()
                        .any(|token| token.name == name && token.has_source == has_source);
                    if is_token(name.as_str()) && !is_repeated {
                        tokens.push(TokenVariable {
                            index,
                            name,
                            has_source,
                        });
                    }
                    index += 1;
                }
                Ok(Tokens(tokens))
            }
        }

        deserializer.deserialize_seq(Variables)
    }
}

fn is_token(name: &str) -> bool {
    runtimes().any(|runtime| runtime.token() == Some(name))
}

/// Reads a field of any type of at most [`LONGEST_FIELD_BYTES`].
pub(in crate::admission) fn short<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Value, D::Error> {
    up_to(LONGEST_FIELD_BYTES, deserializer)
}

/// Reads a field of any type of at most [`LONGEST_LIST_BYTES`].
pub(in crate::admission) fn short_list<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Value, D::Error> {
    up_to(LONGEST_LIST_BYTES, deserializer)
}

fn up_to<'de, D: Deserializer<'de>>(longest: usize, deserializer: D) -> Result<Value, D::Error> {
    let mut left = longest;
    UpTo { left: &mut left }.deserialize(deserializer)
}

/// A value of any type with a limited number of bytes of JSON. A number counts as one byte.
struct UpTo<'l> {
    left: &'l mut usize,
}

impl UpTo<'_> {
    fn take<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        *self.left = self
            .left
            .checked_sub(bytes)
            .ok_or_else(|| E::custom(TOO_MUCH))?;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for UpTo<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UpTo<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(mut self) -> Result<Value, E> {
        self.take(4)?;
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<Value, E> {
        self.take(4)?;
        Ok(value.into())
    }

    fn visit_i64<E: Error>(mut self, value: i64) -> Result<Value, E> {
        self.take(1)?;
        Ok(value.into())
    }

    fn visit_u64<E: Error>(mut self, value: u64) -> Result<Value, E> {
        self.take(1)?;
        Ok(value.into())
    }

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<Value, E> {
        self.take(1)?;
        Ok(value.into())
    }

    fn visit_str<E: Error>(mut self, value: &str) -> Result<Value, E> {
        self.take(value.len() + 2)?;
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        self.take(2)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(UpTo { left: self.left })? {
            self.take(1)?;
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Value, A::Error> {
        self.take(2)?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<Text<'de>>()? {
            self.take(name.as_str().len() + 4)?;
            let value = members.next_value_seed(UpTo { left: self.left })?;
            object.insert(name.as_str().to_owned(), value);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_limit() {
        let list = |entries| format!("[{}]", vec!["1"; entries].join(","));
        let few: Few<u8> = serde_json::from_str(&list(MOST_ENTRIES)).unwrap();
        assert_eq!(few.len(), MOST_ENTRIES);
        let error = serde_json::from_str::<Few<u8>>(&list(MOST_ENTRIES + 1)).unwrap_err();
        assert!(error.to_string().starts_with(TOO_MUCH), "{error}");
    }

    #[test]
    fn of_labels_only_those_are_kept_that_are_looked_at() {
        let text = r#"{"app": "x", "agentkube.io/agent": "first", "kubernetes.io/config.mirror": "m", "agentkube.io/agent": "last"}"#;
        let known: Known<'_> = serde_json::from_str(text).unwrap();
        assert_eq!(known.value("agentkube.io/agent"), Some("last"));
        assert_eq!(known.value("kubernetes.io/config.mirror"), Some("m"));
        assert_eq!(known.value("app"), None);
        assert!(serde_json::from_str::<Known<'_>>(r#"{"app": 1}"#).is_err());
    }

    #[test]
    fn of_an_environment_only_tokens_are_kept_with_their_places() {
        let text = r#"[
            {"name": "A"}, {"name": "OPENAI_API_KEY", "value": "v"},
            {"name": "CURSOR_API_KEY", "valueFrom": {}}, {"name": "OPENAI_API_KEY"}
        ]"#;
        let tokens: Tokens<'_> = serde_json::from_str(text).unwrap();
        let found: Vec<_> = tokens
            .iter()
            .map(|token| (token.index, token.name.as_str(), token.has_source))
            .collect();
        assert_eq!(
            found,
            [(1, "OPENAI_API_KEY", false), (2, "CURSOR_API_KEY", true)]
        );
    }

    #[test]
    fn a_field_has_a_limit() {
        let text = format!("{:?}", "x".repeat(LONGEST_FIELD_BYTES - 2));
        let read = |text: &str| short(&mut serde_json::Deserializer::from_str(text));
        assert!(read(&text).is_ok());
        let longer = text.replacen('x', "xx", 1);
        let error = read(&longer).unwrap_err();
        assert!(error.to_string().starts_with(TOO_MUCH), "{error}");
        assert!(short_list(&mut serde_json::Deserializer::from_str(&longer)).is_ok());
    }
}
