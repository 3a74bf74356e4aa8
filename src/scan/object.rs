use serde::Serialize;
use serde_json::Value;

use crate::api::{GROUP, MIRROR_POD_ANNOTATION};

/// The kinds that a scan covers.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) enum ScannedKind {
    /// An Agent.
    Agent,
    /// A pod.
    Pod,
    /// A Tool.
    Tool,
}

impl ScannedKind {
    /// The value of `kind`.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "Agent",
            Self::Pod => "Pod",
            Self::Tool => "Tool",
        }
    }

    /// The value of `apiVersion`.
    #[must_use]
    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::Agent | Self::Tool => "agentkube.io/v1alpha1",
            Self::Pod => "v1",
        }
    }

    /// The group, kind and resource, as in a review.
    pub(super) fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Agent => (GROUP, "Agent", "agents"),
            Self::Pod => ("", "Pod", "pods"),
            Self::Tool => (GROUP, "Tool", "tools"),
        }
    }
}

/// An object as the API server lists it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScannedObject<'v> {
    pub(super) kind: ScannedKind,
    pub(super) namespace: &'v str,
    pub(super) name: &'v str,
    pub(super) value: &'v Value,
}

impl<'v> ScannedObject<'v> {
    pub(super) fn new(kind: ScannedKind, value: &'v Value) -> Self {
        let text = |member| text(value, member).unwrap_or_default();
        Self {
            kind,
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            value,
        }
    }

    pub(super) fn uid(&self) -> &'v str {
        text(self.value, "/metadata/uid").unwrap_or_default()
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&'v str> {
        self.value
            .pointer("/metadata/annotations")?
            .get(name)?
            .as_str()
    }

    /// The value of a label; `None` if it is blank.
    pub(super) fn label(&self, name: &str) -> Option<&'v str> {
        self.value
            .pointer("/metadata/labels")?
            .get(name)?
            .as_str()
            .filter(|value| !value.is_empty())
    }

    /// The reference to the controller that owns it.
    pub(super) fn controller(&self) -> Option<&'v Value> {
        self.value
            .pointer("/metadata/ownerReferences")?
            .as_array()?
            .iter()
            .find(|reference| reference.get("controller") == Some(&Value::Bool(true)))
    }

    pub(super) fn is_being_deleted(&self) -> bool {
        text(self.value, "/metadata/deletionTimestamp").is_some()
    }

    /// True for a pod whose containers will not run again.
    pub(super) fn has_ended(&self) -> bool {
        self.kind == ScannedKind::Pod
            && matches!(
                text(self.value, "/status/phase"),
                Some("Succeeded" | "Failed")
            )
    }

    /// True if the kubelet made the pod from a file and only mirrors it to the API server.
    pub(super) fn is_mirror_pod(&self) -> bool {
        self.annotation(MIRROR_POD_ANNOTATION)
            .is_some()
    }
}

fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer)?.as_str()
}
