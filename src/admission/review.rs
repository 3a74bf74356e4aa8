use std::{
    borrow::{Borrow, Cow},
    collections::BTreeMap,
};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use super::{
    Denial, Reason, Subject,
    agents::AgentView,
    bounded::{MOST_ENTRIES, TOO_MUCH},
    credential,
    denial::Cause,
    pods::{self, PodView, Scope},
    tools::ToolView,
};
use crate::api::{AgentSpec, ToolSpec, unreadable_field};

/// The only version of the review protocol that is served.
pub(super) const API_VERSION: &str = "admission.k8s.io/v1";

/// A string inside a review, borrowed from the body unless it holds escapes.
#[derive(Clone, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// A map keyed by texts is looked up by `&str`.
impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// An admission review: a request, and the object that it is about.
///
/// Everything is borrowed from the body that was read.
#[derive(Debug)]
pub struct Review<'a> {
    request: Request<'a>,
    pub(super) target: Target<'a>,
}

/// An object that is to be created, and no API server that writes a body about it.
#[derive(Clone, Copy, Debug)]
pub struct Creation<'a> {
    /// API group; empty for the core group.
    pub group: &'a str,
    /// Kind.
    pub kind: &'a str,
    /// The resource that the kind is served as: `pods`.
    pub resource: &'a str,
    /// The namespace that it goes to.
    pub namespace: &'a str,
    /// Name, or `metadata.generateName`.
    pub name: &'a str,
    /// The object, as the API server has it when it calls.
    pub object: &'a Value,
}

/// What a review asks about, read into the fields that decisions look at.
#[derive(Debug)]
pub(super) enum Target<'a> {
    /// An Agent, and on UPDATE what it was before.
    Agent(Change<AgentView>),
    /// Nothing that is judged: an operation that neither creates nor updates.
    Nothing,
    /// A pod, on UPDATE what it was before, and which part of it the request may change.
    Pod(Box<Change<PodView<'a>>>, Scope),
    /// A pod that is admitted without a look.
    SettledPod,
    /// A Tool, and on UPDATE what it was before.
    Tool(Change<ToolView>),
}

/// An object, and on UPDATE what it was before.
#[derive(Debug)]
pub(super) struct Change<T> {
    pub(super) new: T,
    pub(super) old: Option<T>,
}

/// Why a body could not be read as a review.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unreadable {
    /// There is not even a request to answer: the peer is no API server, or speaks another
    /// version. The text says what was expected.
    Body(String),
    /// A request that is not served; it is answered with a denial.
    Request(Box<UnreadableRequest>),
}

/// A request that is not served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnreadableRequest {
    /// The request's uid, to be repeated in the answer.
    pub uid: String,
    /// The namespace of the object.
    pub namespace: String,
    /// What is done to the object.
    pub operation: String,
    /// Who asks.
    pub user: String,
    /// Whether nothing would be stored.
    pub is_dry_run: bool,
    /// Why it is not served.
    pub denial: Denial,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow, default)]
    api_version: Text<'a>,
    #[serde(borrow, default)]
    kind: Text<'a>,
    #[serde(borrow)]
    request: Option<Request<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow)]
    uid: Text<'a>,
    #[serde(borrow)]
    kind: Kind<'a>,
    #[serde(borrow)]
    resource: Resource<'a>,
    #[serde(borrow, default)]
    sub_resource: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    namespace: Text<'a>,
    #[serde(borrow)]
    operation: Text<'a>,
    #[serde(borrow, default)]
    user_info: UserInfo<'a>,
    #[serde(borrow, default)]
    object: Option<Object<'a>>,
    #[serde(borrow, default)]
    old_object: Option<Object<'a>>,
    #[serde(default)]
    dry_run: Option<bool>,
}

/// An object that is yet to be read into the fields that decisions look at.
#[derive(Clone, Copy, Debug)]
enum Object<'a> {
    /// As it is in the memory of whoever asks.
    Held(&'a Value),
    /// As it stands in a body.
    Written(&'a RawValue),
}

/// The part of an object that its author wrote.
#[derive(Deserialize)]
struct SpecOf<S> {
    #[expect(dead_code, reason = "whether it can be read is all that is asked")]
    spec: S,
}

impl Object<'_> {
    /// The first field that keeps the object from being read as a `T`.
    fn unreadable_field<T: DeserializeOwned>(self) -> Option<String> {
        match self {
            Self::Held(object) => unreadable_field::<T, _>(object),
            // Almost all can be read, and finding the field takes longer.
            Self::Written(object) if serde_json::from_str::<T>(object.get()).is_ok() => None,
            Self::Written(object) => {
                unreadable_field::<T, _>(&mut serde_json::Deserializer::from_str(object.get()))
            }
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(Self::Written)
    }
}

#[derive(Debug, Deserialize)]
struct Kind<'a> {
    #[serde(borrow, default)]
    group: Text<'a>,
    #[serde(borrow, default)]
    kind: Text<'a>,
}

#[derive(Debug, Deserialize)]
struct Resource<'a> {
    #[serde(borrow, default)]
    group: Text<'a>,
    #[serde(borrow, default)]
    resource: Text<'a>,
}

/// Groups and extra are read only where somebody asks for them.
#[derive(Debug, Default, Deserialize)]
struct UserInfo<'a> {
    #[serde(borrow, default)]
    username: Text<'a>,
    #[serde(borrow, default)]
    uid: Text<'a>,
    #[serde(borrow, default)]
    groups: Option<&'a RawValue>,
    #[serde(borrow, default)]
    extra: Option<&'a RawValue>,
}

/// Who asks, with everything that an authorizer may look at.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Author {
    /// The name that the user is known by.
    pub username: String,
    /// What tells users apart that had the same name at different times; may be empty.
    pub uid: String,
    /// The groups that the user is in.
    pub groups: Vec<String>,
    /// Whatever else the authenticator said.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl<'a> Review<'a> {
    /// Reads a body of an `AdmissionReview`.
    ///
    /// # Errors
    ///
    /// [`Unreadable::Body`] where there is no request to answer, [`Unreadable::Request`] where
    /// there is one that is not served.
    pub fn parse(body: &'a [u8]) -> Result<Self, Unreadable> {
        let envelope: Envelope<'a> = serde_json::from_slice(body).map_err(|error| {
            Unreadable::Body(format!(
                "the body is not an AdmissionReview: {}",
                position(&error)
            ))
        })?;
        if envelope.kind.as_str() != "AdmissionReview"
            || envelope.api_version.as_str() != API_VERSION
        {
            return Err(Unreadable::Body(format!(
                "the body is not an AdmissionReview of {API_VERSION}, the only version that is served \
                 (hint: set admissionReviewVersions: [v1] in the registration)"
            )));
        }
        let Some(request) = envelope.request else {
            return Err(Unreadable::Body(
                "the AdmissionReview has no request".to_owned(),
            ));
        };
        match Target::parse(&request) {
            Ok(target) => Ok(Self { request, target }),
            Err(cause) => Err(Unreadable::Request(Box::new(UnreadableRequest {
                uid: request.uid.as_str().to_owned(),
                namespace: request.namespace.as_str().to_owned(),
                operation: request.operation.as_str().to_owned(),
                user: request
                    .user_info
                    .username
                    .as_str()
                    .to_owned(),
                is_dry_run: request.dry_run.unwrap_or_default(),
                denial: Denial {
                    subject: request.subject(),
                    causes: vec![cause],
                },
            }))),
        }
    }

    /// The review that an API server would ask for where an object is created. The object is not
    /// written and read again for it.
    ///
    /// # Errors
    ///
    /// The denial of an object that cannot be read.
    pub fn of(creation: Creation<'a>) -> Result<Self, Denial> {
        let request = creation.request(Object::Held(creation.object));
        match Target::parse(&request) {
            Ok(target) => Ok(Self { request, target }),
            Err(cause) => Err(Denial {
                subject: request.subject(),
                causes: vec![creation.place().unwrap_or(cause)],
            }),
        }
    }

    /// The request's uid, which the answer repeats.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.request.uid.as_str()
    }

    /// What is done to the object: `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    #[must_use]
    pub fn operation(&self) -> &str {
        self.request.operation.as_str()
    }

    /// The namespace of the object.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.request.namespace.as_str()
    }

    /// Who asks, as the API server authenticated them.
    #[must_use]
    pub fn user(&self) -> &str {
        self.request.user_info.username.as_str()
    }

    /// Who asks, in full; `None` where that cannot be read.
    #[must_use]
    pub fn author(&self) -> Option<Author> {
        let user = &self.request.user_info;
        Some(Author {
            username: user.username.as_str().to_owned(),
            uid: user.uid.as_str().to_owned(),
            groups: optional(user.groups)?,
            extra: optional(user.extra)?,
        })
    }

    /// Whether nothing will be stored.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.request.dry_run.unwrap_or_default()
    }

    /// The object that is asked about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        self.request.subject()
    }

    /// The object as it was submitted; `None` where no body was read.
    #[must_use]
    pub fn object(&self) -> Option<&RawValue> {
        match self.request.object {
            Some(Object::Written(object)) => Some(object),
            Some(Object::Held(_)) | None => None,
        }
    }

    /// What keeps the spec of an Agent or a Tool from being read by everybody else in this program. One
    /// that was there before may stay, or its labels and finalizers could not be changed.
    pub(super) fn unreadable(&self) -> Option<Cause> {
        let object = self.request.object?;
        let field = match &self.target {
            Target::Agent(change) if !change.is_settled(AgentView::steers_the_same_as) => {
                object.unreadable_field::<SpecOf<AgentSpec>>()
            }
            Target::Tool(change) if !change.is_settled(ToolView::steers_the_same_as) => {
                object.unreadable_field::<SpecOf<ToolSpec>>()
            }
            _ => None,
        }?;
        let field = credential::hide_credentials(&field).into_owned();
        let detail = "this version of agentkube cannot read it, although the schema takes it";
        Some(
            Cause::unreadable(field, detail).hint(
                "write a number without a fraction, and a quantity as a text such as \"500m\"",
            ),
        )
    }

    /// The kind of the object, from the closed set that is served; for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.target {
            Target::Agent(_) => "Agent",
            Target::Nothing => "none",
            Target::Pod(..) | Target::SettledPod => "Pod",
            Target::Tool(_) => "Tool",
        }
    }
}

impl<'a> Creation<'a> {
    fn request(self, object: Object<'a>) -> Request<'a> {
        let text = |text: &'a str| Text(Cow::Borrowed(text));
        Request {
            uid: Text::default(),
            kind: Kind {
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

    /// Why the object cannot be read, with the place: only what is written has lines and columns.
    fn place(self) -> Option<Cause> {
        let text = self.object.to_string();
        let object = serde_json::from_str(&text)
            .map(Object::Written)
            .ok()?;
        Target::parse(&self.request(object)).err()
    }
}

impl Request<'_> {
    fn subject(&self) -> Subject {
        Subject {
            group: self.kind.group.as_str().to_owned(),
            kind: self.kind.kind.as_str().to_owned(),
            name: self.name.as_str().to_owned(),
        }
    }
}

impl<'a> Target<'a> {
    fn parse(request: &Request<'a>) -> Result<Self, Cause> {
        let update = match request.operation.as_str() {
            "CREATE" => false,
            "UPDATE" => true,
            // Nothing is created or changed, so there is nothing to refuse: a registration that
            // is too wide must not keep objects from being deleted.
            _ => return Ok(Self::Nothing),
        };
        let old = update
            .then_some(request.old_object)
            .flatten();
        let group = request.resource.group.as_str();
        let resource = request.resource.resource.as_str();
        match (group, resource, request.sub_resource.as_str()) {
            (crate::api::GROUP, "agents", _) => {
                Ok(Self::Agent(Change::parse(request.object, old)?))
            }
            (crate::api::GROUP, "tools", _) => Ok(Self::Tool(Change::parse(request.object, old)?)),
            ("", "pods", "") => Ok(Self::pod(
                Change::parse(request.object, old)?,
                Scope::of_update(update),
            )),
            ("", "pods", "ephemeralcontainers") => Ok(Self::pod(
                Change::parse(request.object, old)?,
                Scope::Ephemeral,
            )),
            (_, _, sub_resource) => {
                let mut asked = format!("{resource}.{group}")
                    .trim_end_matches('.')
                    .to_owned();
                if !sub_resource.is_empty() {
                    asked = format!("{asked}/{sub_resource}");
                }
                Err(malformed("request.resource", &format!("agentkube does not serve {asked}"))
                    .hint("register the webhook for agents, tools, pods and pods/ephemeralcontainers only"))
            }
        }
    }

    fn pod(pod: Change<PodView<'a>>, scope: Scope) -> Self {
        if pods::is_settled(&pod, scope) {
            Self::SettledPod
        } else {
            Self::Pod(Box::new(pod), scope)
        }
    }
}

impl<T> Change<T> {
    /// Whether the object was there before, and is the same by this measure.
    fn is_settled(&self, is_same: impl Fn(&T, &T) -> bool) -> bool {
        self.old
            .as_ref()
            .is_some_and(|old| is_same(&self.new, old))
    }
}

impl<'a, T: Deserialize<'a>> Change<T> {
    fn parse(object: Option<Object<'a>>, old: Option<Object<'a>>) -> Result<Self, Cause> {
        let object = object.ok_or_else(|| malformed("request.object", "the object is missing"))?;
        Ok(Self {
            new: read("request.object", object)?,
            old: old
                .map(|old| read("request.oldObject", old))
                .transpose()?,
        })
    }
}

fn read<'a, T: Deserialize<'a>>(field: &str, object: Object<'a>) -> Result<T, Cause> {
    let read = match object {
        Object::Held(object) => T::deserialize(object),
        Object::Written(object) => serde_json::from_str(object.get()),
    };
    read.map_err(|error| {
        malformed(
            field,
            &format!("the object cannot be read: {}", position(&error)),
        )
    })
}

/// A value that may be absent, `None` where it cannot be read.
fn optional<T: Default + for<'a> Deserialize<'a>>(value: Option<&RawValue>) -> Option<T> {
    value.map_or_else(
        || Some(T::default()),
        |value| serde_json::from_str(value.get()).ok(),
    )
}

fn malformed(field: &str, detail: &str) -> Cause {
    Cause::forbidden(Reason::MalformedReview, field, detail)
}

/// Where JSON could not be read, in words that repeat nothing of the body: serde's own message
/// quotes values, and a value may be a credential.
fn position(error: &serde_json::Error) -> String {
    let problem = match error.classify() {
        serde_json::error::Category::Data => "a field is missing or of the wrong type",
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Io | serde_json::error::Category::Syntax => "it is not JSON",
    };
    // These are words of our own; serde's begin otherwise.
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
