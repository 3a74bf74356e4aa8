use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Creation, Denial, Subject, credential,
    denial::Cause,
    specs::{agents::AgentView, tools::ToolView},
    target::Target,
    wire::request::{Request, RequestObject, ReviewEnvelope, position},
};
use crate::api::{AgentSpec, ToolSpec};

/// The only supported version of the review protocol.
pub(super) const API_VERSION: &str = "admission.k8s.io/v1";

/// An admission review: a request, and the object that it is about.
///
/// Everything is borrowed from the body.
#[derive(Debug)]
pub struct Review<'a> {
    request: Request<'a>,
    pub(super) target: Target<'a>,
}

/// The reason why a body could not be read as a review.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unreadable {
    /// There is no request to answer: the peer is not an API server, or uses another version of the
    /// protocol. The text says what was expected.
    Body(String),
    /// A request that is not supported and is answered with a denial.
    Request(Box<UnreadableRequest>),
}

/// A request that is not supported.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnreadableRequest {
    /// The uid of the request, which the answer repeats.
    pub uid: String,
    /// The namespace of the object.
    pub namespace: String,
    /// The operation on the object.
    pub operation: String,
    /// The name of the requesting user.
    pub user: String,
    /// True if the request is a dry run.
    pub is_dry_run: bool,
    /// The denial to answer with.
    pub denial: Denial,
}

/// The part of an object that its author wrote.
#[derive(Deserialize)]
struct SpecOf<S> {
    #[expect(dead_code, reason = "whether it can be read is all that is asked")]
    spec: S,
}

/// The requesting user, with everything that an authorizer may look at.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Author {
    /// The name of the user.
    pub username: String,
    /// The uid, which tells apart users who had the same name at different times; may be empty.
    pub uid: String,
    /// The groups of the user.
    pub groups: Vec<String>,
    /// Further attributes from the authenticator.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl<'a> Review<'a> {
    /// Reads a body of an `AdmissionReview`.
    ///
    /// # Errors
    ///
    /// [`Unreadable::Body`] if there is no request to answer, [`Unreadable::Request`] if the
    /// request is not supported.
    pub fn parse(body: &'a [u8]) -> Result<Self, Unreadable> {
        let envelope: ReviewEnvelope<'a> = serde_json::from_slice(body).map_err(|error| {
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

    /// The review that an API server would send for the creation of an object, without serializing
    /// the object.
    ///
    /// # Errors
    ///
    /// The denial of an object that cannot be read.
    pub fn of(creation: Creation<'a>) -> Result<Self, Denial> {
        let request = creation.request(RequestObject::Held(creation.object));
        match Target::parse(&request) {
            Ok(target) => Ok(Self { request, target }),
            Err(cause) => Err(Denial {
                subject: request.subject(),
                causes: vec![creation.locate_error().unwrap_or(cause)],
            }),
        }
    }

    /// The uid of the request, which the answer repeats.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.request.uid.as_str()
    }

    /// The operation: `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    #[must_use]
    pub fn operation(&self) -> &str {
        self.request.operation.as_str()
    }

    /// The namespace of the object.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.request.namespace.as_str()
    }

    /// The name of the requesting user, as the API server authenticated it.
    #[must_use]
    pub fn user(&self) -> &str {
        self.request.user_info.username.as_str()
    }

    /// The requesting user in full; `None` if it cannot be read.
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

    /// True if the request is a dry run.
    #[must_use]
    pub(crate) fn is_dry_run(&self) -> bool {
        self.request.dry_run.unwrap_or_default()
    }

    /// The object that the review is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        self.request.subject()
    }

    /// The object as it was submitted; `None` if no body was read.
    #[must_use]
    pub fn object(&self) -> Option<&RawValue> {
        match self.request.object {
            Some(RequestObject::Written(object)) => Some(object),
            Some(RequestObject::Held(_)) | None => None,
        }
    }

    /// The problem of a spec of an Agent or Tool that the rest of this program cannot read. A spec
    /// that was unreadable before the update may stay, so that labels and finalizers can still be
    /// changed.
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

    /// The kind of the object, for metrics: one of a closed set.
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

/// A value that may be absent; `None` if it cannot be read.
fn optional<T: Default + for<'a> Deserialize<'a>>(value: Option<&RawValue>) -> Option<T> {
    value.map_or_else(
        || Some(T::default()),
        |value| serde_json::from_str(value.get()).ok(),
    )
}
