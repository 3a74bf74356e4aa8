//! The owner of a pod, read from its labels and its controller before and after a request.
//!
//! Anyone who may change the pod can write a label, and a controller reference can be removed. So a
//! pod belongs to an Agent if any of the four says so, and a label cannot be removed.

use super::view::PodView;
use crate::{
    admission::{ObjectState, Reason, change::Change, denial::Cause},
    api::{
        AGENT_GENERATION_ANNOTATION, AGENT_LABEL, GROUP, TOOL_GENERATION_ANNOTATION, TOOL_LABEL,
    },
};

/// The kinds of objects that a pod can belong to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::admission) enum OwnerKind {
    Agent,
    Tool,
}

/// The Agent or Tool that a pod belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::admission) struct PodOwner<'p> {
    pub(in crate::admission) name: &'p str,
    /// The state that the pod was built from; `None` if the object does not control the pod, or if
    /// the pod does not record it.
    pub(in crate::admission) built_from: Option<ObjectState<'p>>,
}

impl OwnerKind {
    pub(in crate::admission) const ALL: [Self; 2] = [Self::Agent, Self::Tool];

    /// The kind, as owner references name it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "Agent",
            Self::Tool => "Tool",
        }
    }

    /// The label that names the owner.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Agent => AGENT_LABEL,
            Self::Tool => TOOL_LABEL,
        }
    }

    /// The annotation with the generation that the pod was built from.
    fn generation(self) -> &'static str {
        match self {
            Self::Agent => AGENT_GENERATION_ANNOTATION,
            Self::Tool => TOOL_GENERATION_ANNOTATION,
        }
    }
}

impl Change<PodView<'_>> {
    /// The object of this kind that the pod belongs to, by its labels and its controller before and
    /// after the request.
    pub(in crate::admission) fn owner(&self, kind: OwnerKind) -> Option<PodOwner<'_>> {
        let controller = self.new.controller(kind);
        let name = self
            .new
            .label(kind.label())
            .or(controller.map(|(name, _)| name))
            .or_else(|| self.old.as_ref()?.claim(kind))?;
        let built_from = controller
            .filter(|(controller, _)| *controller == name)
            .and_then(|(_, uid)| {
                Some(ObjectState {
                    uid,
                    generation: self.new.number(kind.generation())?,
                })
            });
        Some(PodOwner { name, built_from })
    }

    /// The problems of a pod's ownership: a label that is changed or removed, or one that names
    /// another object than the controller.
    pub(super) fn owner_mismatches(&self) -> impl Iterator<Item = Cause> {
        OwnerKind::ALL
            .into_iter()
            .filter_map(|kind| self.owner_mismatch(kind))
    }

    fn owner_mismatch(&self, kind: OwnerKind) -> Option<Cause> {
        let field = || format!("metadata.labels[{}]", kind.label());
        let label = self.new.label(kind.label());
        let old = self
            .old
            .as_ref()
            .and_then(|old| old.label(kind.label()));
        if old.is_some() && old != label {
            let detail = "field is immutable";
            let hint = "delete the pod, and create another one";
            let cause = Cause::invalid(
                Reason::OwnerMismatch,
                field(),
                label.unwrap_or_default(),
                detail,
            );
            return Some(cause.hint(hint));
        }
        let (controller, _) = self.new.controller(kind)?;
        let is_news = old != label || self.old.is_none();
        if is_news && label.is_some_and(|label| label != controller) {
            let detail = format!(
                "the {} that controls the pod has another name",
                kind.as_str()
            );
            let hint = format!(
                "set the label to the {} of the controller reference",
                kind.as_str()
            );
            return Some(
                Cause::invalid(
                    Reason::OwnerMismatch,
                    field(),
                    label.unwrap_or_default(),
                    &detail,
                )
                .hint(&hint),
            );
        }
        None
    }
}

impl PodView<'_> {
    /// The object of this kind that the pod's label or its controller names.
    pub(super) fn claim(&self, kind: OwnerKind) -> Option<&str> {
        self.label(kind.label())
            .or_else(|| Some(self.controller(kind)?.0))
    }

    /// The name and UID of the object of this kind that controls the pod.
    pub(super) fn controller(&self, kind: OwnerKind) -> Option<(&str, &str)> {
        self.metadata
            .owner_references
            .iter()
            .flatten()
            .find(|reference| reference.controller == Some(true))
            .filter(|reference| {
                let group = reference
                    .api_version
                    .as_str()
                    .split_once('/')
                    .map(|(group, _)| group);
                group == Some(GROUP) && reference.kind.as_str() == kind.as_str()
            })
            .map(|reference| (reference.name.as_str(), reference.uid.as_str()))
    }
}
