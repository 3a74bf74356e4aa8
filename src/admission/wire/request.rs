//! The request inside a review, as it stands in the body.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use super::{
    bounded::{MOST_ENTRIES, TOO_MUCH},
    text::Text,
};
use crate::{
    admission::{Reason, Subject, change::Change, denial::Cause},
    api::unreadable_field,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::admission) struct ReviewEnvelope<'a> {
    #[serde(borrow, default)]
    pub(in crate::admission) api_version: Text<'a>,
    #[serde(borrow, default)]
    pub(in crate::admission) kind: Text<'a>,
    #[serde(borrow)]
    pub(in crate::admission) request: Option<Request<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::admission) struct Request<'a> {
    #[serde(borrow)]
    pub(in crate::admission) uid: Text<'a>,
    #[serde(borrow)]
    pub(in crate::admission) kind: RequestKind<'a>,
    #[serde(borrow)]
    pub(in crate::admission) resource: Resource<'a>,
    #[serde(borrow, default)]
    pub(in crate::admission) sub_resource: Text<'a>,
    #[serde(borrow, default)]
    pub(in crate::admission) name: Text<'a>,
    #[serde(borrow, default)]
    pub(in crate::admission) namespace: Text<'a>,
    #[serde(borrow)]
    pub(in crate::admission) operation: Text<'a>,
    #[serde(borrow, default)]
    pub(in crate::admission) user_info: UserInfo<'a>,
    #[serde(borrow, default)]
    pub(in crate::admission) object: Option<RequestObject<'a>>,
    #[serde(borrow, default)]
    pub(in crate::admission) old_object: Option<RequestObject<'a>>,
    #[serde(default)]
    pub(in crate::admission) dry_run: Option<bool>,
}

/// An object that has yet to be read into the fields that rules use.
#[derive(Clone, Copy, Debug)]
pub(in crate::admission) enum RequestObject<'a> {
    /// A parsed value in the caller's memory.
    Held(&'a Value),
    /// Raw JSON of a body.
    Written(&'a RawValue),
}

impl RequestObject<'_> {
    /// The path of the first field that cannot be read as part of a `T`.
    pub(in crate::admission) fn unreadable_field<T: DeserializeOwned>(self) -> Option<String> {
        match self {
            Self::Held(object) => unreadable_field::<T, _>(object),
            // Almost all objects can be read, and finding the field is slower.
            Self::Written(object) if serde_json::from_str::<T>(object.get()).is_ok() => None,
            Self::Written(object) => {
                unreadable_field::<T, _>(&mut serde_json::Deserializer::from_str(object.get()))
            }
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RequestObject<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(Self::Written)
    }
}

#[derive(Debug, Deserialize)]
pub(in crate::admission) struct RequestKind<'a> {
    #[serde(borrow, default)]
    pub(in crate::admission) group: Text<'a>,
    #[serde(borrow, default)]
    pub(in crate::admission) kind: Text<'a>,
}

#[derive(Debug, Deserialize)]
pub(in crate::admission) struct Resource<'a> {
    #[serde(borrow, default)]
    pub(in crate::admission) group: Text<'a>,
    #[serde(borrow, default)]
    pub(in crate::admission) resource: Text<'a>,
}

/// The requesting user. Groups and extra are only read where they are needed.
#[derive(Debug, Default, Deserialize)]
pub(in crate::admission) struct UserInfo<'a> {
    #[serde(borrow, default)]
    pub(in crate::admission) username: Text<'a>,
    #[serde(borrow, default)]
    pub(in crate::admission) uid: Text<'a>,
    #[serde(borrow, default)]
    pub(in crate::admission) groups: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(in crate::admission) extra: Option<&'a RawValue>,
}

impl Request<'_> {
    pub(in crate::admission) fn subject(&self) -> Subject {
        Subject {
            group: self.kind.group.as_str().to_owned(),
            kind: self.kind.kind.as_str().to_owned(),
            name: self.name.as_str().to_owned(),
        }
    }
}

impl<'a, T: Deserialize<'a>> Change<T> {
    pub(in crate::admission) fn parse(
        object: Option<RequestObject<'a>>,
        old: Option<RequestObject<'a>>,
    ) -> Result<Self, Cause> {
        let object = object.ok_or_else(|| malformed("request.object", "the object is missing"))?;
        Ok(Self {
            new: read("request.object", object)?,
            old: old
                .map(|old| read("request.oldObject", old))
                .transpose()?,
        })
    }
}

fn read<'a, T: Deserialize<'a>>(field: &str, object: RequestObject<'a>) -> Result<T, Cause> {
    let read = match object {
        RequestObject::Held(object) => T::deserialize(object),
        RequestObject::Written(object) => serde_json::from_str(object.get()),
    };
    read.map_err(|error| {
        malformed(
            field,
            &format!("the object cannot be read: {}", position(&error)),
        )
    })
}

pub(in crate::admission) fn malformed(field: &str, detail: &str) -> Cause {
    Cause::forbidden(Reason::MalformedReview, field, detail)
}

/// The position of a JSON error, in words that quote nothing of the body. The messages of serde
/// quote values, and a value may be a credential.
pub(in crate::admission) fn position(error: &serde_json::Error) -> String {
    let problem = match error.classify() {
        serde_json::error::Category::Data => "a field is missing or of the wrong type",
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Io | serde_json::error::Category::Syntax => "it is not JSON",
    };
    // The limits have their own errors, with a prefix that serde does not use.
    if error.to_string().starts_with(TOO_MUCH) {
        return format!(
            "a list has more than {MOST_ENTRIES} entries, or a field is too long, at line {} column {}",
            error.line(),
            error.column()
        );
    }
    format!(
        "{problem} at line {} column {}",
        error.line(),
        error.column()
    )
}
