//! The values of a file of JSON, one after the other.

use std::{fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};

use super::document::{
    Document, DocumentProblem, LONGEST_DOCUMENT, document, is_list, no_list, parser_message,
    too_long,
};
use crate::offline::parallel::parallel;

/// Reads each value, and passes it to `take` on the thread that has read it.
pub(in crate::offline) fn json<T: Send>(
    file: &Arc<str>,
    text: &str,
    take: impl Fn(Document) -> T + Sync,
) -> Vec<Result<T, DocumentProblem>> {
    let mut place = Place::start_of(text);
    let mut values = Vec::new();
    let mut broken = None;
    // The end of a broken value is unknown, so nothing after it is read.
    for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        match value {
            Ok(raw) => values.push((place.of(raw.get()), raw)),
            Err(error) => {
                broken = Some(json_problem(file, (1, 1), &error));
                break;
            }
        }
    }
    let read = parallel(values, |(at, raw)| {
        json_value(file, at, raw)
            .into_iter()
            .map(|document| document.map(&take))
            .collect::<Vec<_>>()
    });
    read.into_iter()
        .flatten()
        .chain(broken.map(Err))
        .collect()
}

fn json_value(
    file: &Arc<str>,
    at: (u64, u64),
    raw: &RawValue,
) -> Vec<Result<Document, DocumentProblem>> {
    if raw.get().len() > LONGEST_DOCUMENT {
        return vec![Err(too_long(file, at.0))];
    }
    let object = match serde_json::from_str::<Unique>(raw.get()) {
        Ok(Unique(object)) => object,
        Err(error) => return vec![Err(json_problem(file, at, &error))],
    };
    if !is_list(&object) {
        return vec![document(file, at.0, object)];
    }
    // Parsed again, for the lines of its items.
    match serde_json::from_str::<JsonList<'_>>(raw.get()) {
        Ok(list) => {
            let mut place = Place {
                rest: raw.get(),
                at,
            };
            list.items
                .into_iter()
                .map(|item| {
                    let (line, _) = place.of(item.get());
                    let value = serde_json::from_str(item.get()).unwrap_or_default();
                    document(file, line, value).and_then(no_list)
                })
                .collect()
        }
        Err(_) => vec![document(file, at.0, object)],
    }
}

#[derive(Deserialize)]
struct JsonList<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
}

fn json_problem(
    file: &Arc<str>,
    (line, column): (u64, u64),
    error: &serde_json::Error,
) -> DocumentProblem {
    let (at_line, at_column) = (error.line() as u64, error.column() as u64);
    // Positions are relative to the beginning of the value.
    let column = if at_line <= 1 {
        column + at_column.max(1) - 1
    } else {
        at_column
    };
    DocumentProblem {
        file: file.clone(),
        at: Some((line + at_line.max(1) - 1, column.max(1))),
        message: parser_message(&error.to_string(), at_line, at_column),
    }
}

/// A position in a text that only moves forward, so no part is counted twice.
struct Place<'a> {
    /// The rest of the text.
    rest: &'a str,
    /// The line and column of its beginning, from 1.
    at: (u64, u64),
}

impl<'a> Place<'a> {
    fn start_of(text: &'a str) -> Self {
        Self {
            rest: text,
            at: (1, 1),
        }
    }

    /// Moves to a part of the text, and returns its position.
    fn of(&mut self, part: &str) -> (u64, u64) {
        let offset = (part.as_ptr() as usize).saturating_sub(self.rest.as_ptr() as usize);
        if let Some((passed, rest)) = self.rest.split_at_checked(offset) {
            let (line, column) = self.at;
            self.rest = rest;
            self.at = match passed.rsplit_once('\n') {
                Some((lines, last)) => (
                    line + lines.matches('\n').count() as u64 + 1,
                    last.chars().count() as u64 + 1,
                ),
                None => (line, column + passed.chars().count() as u64),
            };
        }
        self.at
    }
}

/// JSON without duplicate members, which the API server refuses.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Unique;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Unique, E> {
                Ok(Unique(Value::Null))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Unique, E> {
                Ok(Unique(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Unique, E> {
                Ok(Unique(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Unique, E> {
                Ok(Unique(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Unique, E> {
                Ok(Unique(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Unique, E> {
                Ok(Unique(value.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unique, A::Error> {
                let mut list = Vec::new();
                while let Some(Unique(item)) = items.next_element()? {
                    list.push(item);
                }
                Ok(Unique(Value::Array(list)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Unique, A::Error> {
                let mut object = Map::new();
                while let Some((name, Unique(value))) = members.next_entry::<String, Unique>()? {
                    if object.contains_key(&name) {
                        return Err(A::Error::custom(format!("duplicate field `{name}`")));
                    }
                    object.insert(name, value);
                }
                Ok(Unique(Value::Object(object)))
            }
        }

        deserializer.deserialize_any(Members)
    }
}
