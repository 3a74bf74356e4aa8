use serde::Serialize;
use serde_json::Value;

use super::cause::ReviewCause;
use crate::{
    api::ImageDecision,
    images::Resolution,
    offline::{input::document::Document, metadata, packed::PackedObject},
};

/// The namespace of objects that name none.
const DEFAULT_NAMESPACE: &str = "default";

/// The cluster's verdict on one object.
///
/// Its serialized form is the output of `agentkube review -o json`.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The file with the object.
    pub file: String,
    /// The line of its first member, from 1.
    pub line: u64,
    /// Its kind.
    pub kind: String,
    /// Its namespace, or `default` if it names none.
    pub namespace: String,
    /// Its name, or `metadata.generateName`.
    pub name: String,
    /// The decision, and the reasons for it.
    #[serde(flatten)]
    pub decided: Decided,
    /// Warnings for the author, whatever the decision.
    pub warnings: Vec<String>,
    /// The image of each container that admission sets, and the rule that chose it. For an Agent or
    /// a Tool these are the images of its pod.
    pub images: Vec<ImageDecision>,
    /// The changes by admission to the object, or to the pods of its template.
    pub patch: json_patch::Patch,
    /// For each of [`Verdict::images`], the images that the lower rules would have given.
    #[serde(skip)]
    pub alternatives: Vec<Vec<Resolution>>,
    /// The pod that would run, after admission, if pods were asked for.
    #[serde(skip)]
    pub pod: Option<PackedObject>,
}

/// A decision and, for a refusal, the answer of the API server.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Decided {
    /// The decision for the object.
    pub decision: VerdictDecision,
    /// The HTTP status of a refusal.
    pub code: Option<u16>,
    /// The reason in the `Status` of a refusal, such as `Invalid`.
    pub reason: Option<&'static str>,
    /// The message in the `Status` of a refusal.
    pub message: Option<String>,
    /// The problems, one by one.
    pub causes: Vec<ReviewCause>,
}

/// The decision for an object.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VerdictDecision {
    /// The object is admitted.
    #[default]
    Allow,
    /// The object is refused.
    Deny,
}

impl Verdict {
    /// The verdict for a document without problems.
    pub(in crate::offline) fn on(document: &Document) -> Self {
        let object = &document.object;
        Self {
            file: document.file.to_string(),
            line: document.line,
            kind: object
                .get("kind")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            namespace: metadata::namespace(object)
                .unwrap_or(DEFAULT_NAMESPACE)
                .to_owned(),
            name: metadata::name(object).to_owned(),
            decided: Decided::default(),
            warnings: Vec::new(),
            images: Vec::new(),
            patch: json_patch::Patch::default(),
            alternatives: Vec::new(),
            pod: None,
        }
    }

    /// True if the object is refused.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.decided.decision == VerdictDecision::Deny
    }
}

impl Decided {
    /// A refusal with `code` and `reason`.
    pub(in crate::offline) fn deny(
        code: u16,
        reason: &'static str,
        message: String,
        causes: Vec<ReviewCause>,
    ) -> Self {
        Self {
            decision: VerdictDecision::Deny,
            code: Some(code),
            reason: Some(reason),
            message: Some(message),
            causes,
        }
    }

    /// The API server's refusal of an object that breaks its schema.
    pub(in crate::offline) fn invalid(kind: &str, name: &str, causes: Vec<ReviewCause>) -> Self {
        let mut said: Vec<String> = causes
            .iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect();
        let said = if said.len() == 1 {
            said.remove(0)
        } else {
            format!("[{}]", said.join(", "))
        };
        let message = format!("{kind}.{} {name:?} is invalid: {said}", crate::api::GROUP);
        Self::deny(422, "Invalid", message, causes)
    }

    /// A refusal of an object that cannot be decoded.
    pub(in crate::offline) fn undecodable(
        kind: &str,
        version: &str,
        why: &str,
        causes: Vec<ReviewCause>,
    ) -> Self {
        let message = format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}");
        Self::deny(400, "BadRequest", message, causes)
    }
}

impl From<&crate::admission::Denial> for Decided {
    fn from(denial: &crate::admission::Denial) -> Self {
        Self::deny(
            denial.code(),
            denial.status_reason(),
            denial.message(),
            denial
                .causes
                .iter()
                .map(Into::into)
                .collect(),
        )
    }
}
