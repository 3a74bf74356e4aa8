use std::borrow::Cow;

use serde_json::Value;

use super::{
    denial::Cause,
    target::Target,
    wire::{
        request::{Request, RequestKind, RequestObject, Resource, UserInfo},
        text::Text,
    },
};

/// An object that is to be created, given without an API server's review.
#[derive(Clone, Copy, Debug)]
pub struct Creation<'a> {
    /// API group; empty for the core group.
    pub group: &'a str,
    /// Kind.
    pub kind: &'a str,
    /// The resource that the kind is served as: `pods`.
    pub resource: &'a str,
    /// The namespace that it is created in.
    pub namespace: &'a str,
    /// Name, or `metadata.generateName`.
    pub name: &'a str,
    /// The object, as an API server would send it.
    pub object: &'a Value,
}

impl<'a> Creation<'a> {
    pub(super) fn request(self, object: RequestObject<'a>) -> Request<'a> {
        let text = |text: &'a str| Text(Cow::Borrowed(text));
        Request {
            uid: Text::default(),
            kind: RequestKind {
                group: text(self.group),
                kind: text(self.kind),
            },
            resource: Resource {
                group: text(self.group),
                resource: text(self.resource),
            },
            sub_resource: Text::default(),
            name: text(self.name),
            namespace: text(self.namespace),
            operation: text("CREATE"),
            user_info: UserInfo::default(),
            object: Some(object),
            old_object: None,
            dry_run: None,
        }
    }

    /// The error of an object that cannot be read, with its place. Only text has lines and columns.
    pub(super) fn locate_error(self) -> Option<Cause> {
        let text = self.object.to_string();
        let object = serde_json::from_str(&text)
            .map(RequestObject::Written)
            .ok()?;
        Target::parse(&self.request(object)).err()
    }
}
