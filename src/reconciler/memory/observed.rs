//! The few fields of a pod that status depends on.

use k8s_openapi::api::core::v1::Pod;
use kube::{Resource, api::ObjectMeta};
use serde::{Deserialize, Serialize};

use super::packed::Pack;
use crate::api::{IMAGES_ANNOTATION, ImageDecision, UnreadableObject};

/// A pod, without its spec.
#[derive(Clone, Debug, Default, Deserialize, Resource, Serialize)]
#[resource(inherit = "Pod")]
pub(in crate::reconciler) struct ObservedPod {
    pub(in crate::reconciler) metadata: ObjectMeta,
    #[serde(default)]
    pub(in crate::reconciler) status: ObservedStatus,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::reconciler) struct ObservedStatus {
    pub(in crate::reconciler) phase: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::reconciler) reason: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::reconciler) message: Option<Box<str>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(in crate::reconciler) conditions: Box<[PodCondition]>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(in crate::reconciler) init_container_statuses: Box<[ContainerStatus]>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(in crate::reconciler) container_statuses: Box<[ContainerStatus]>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(in crate::reconciler) struct PodCondition {
    #[serde(rename = "type")]
    pub(in crate::reconciler) type_: Box<str>,
    pub(in crate::reconciler) status: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::reconciler) reason: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::reconciler) message: Option<Box<str>>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(in crate::reconciler) struct ContainerStatus {
    pub(in crate::reconciler) name: Box<str>,
    pub(in crate::reconciler) state: ContainerState,
    /// Only kept if it matters to [`ObservedPod::container_with_long_environment`].
    #[serde(rename = "lastState", skip_serializing_if = "LastState::is_empty")]
    last_state: LastState,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(in crate::reconciler) struct ContainerState {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::reconciler) waiting: Option<WaitingContainer>,
}

/// The end of a container before its last restart.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct LastState {
    terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Terminated {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Box<str>>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(in crate::reconciler) struct WaitingContainer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::reconciler) reason: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::reconciler) message: Option<Box<str>>,
}

/// The kernel's message when a process is started with variables that are too long, or too many.
const TOO_LONG: &str = "argument list too long";

/// The reasons for the end of a container that was never started, in containerd and in Docker.
const NEVER_STARTED: [&str; 2] = ["StartError", "ContainerCannotRun"];

/// The longest record of admission that is read from a pod. Anyone who may write the pod can write
/// it, too.
const LONGEST_RECORD_BYTES: usize = 16 * 1024;

/// The ownership of a pod.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::reconciler) enum Ownership {
    /// Its controller is another object, or it has none.
    Foreign,
    /// Its controller was a deleted object of the same kind and name. The garbage collector will
    /// delete the pod.
    Leftover,
    /// Its controller is the object.
    Ours,
}

impl Pack for ObservedPod {
    const IS_ALWAYS_KEPT: bool = true;

    type Summary = ();

    fn summary(&self) {}

    fn summary_of_unreadable(_: &UnreadableObject) {}

    fn trim(&mut self) {
        let metadata = &mut self.metadata;
        metadata.finalizers = None;
        metadata.generate_name = None;
        metadata.labels = None;
        metadata.managed_fields = None;
        metadata.uid = None;
        if let Some(annotations) = &mut metadata.annotations {
            annotations.retain(|name, value| {
                name == IMAGES_ANNOTATION && value.len() <= LONGEST_RECORD_BYTES
            });
        }
        let is_read = |condition: &PodCondition| {
            matches!(&*condition.type_, READY_CONDITION | SCHEDULED_CONDITION)
        };
        let conditions = std::mem::take(&mut self.status.conditions);
        self.status.conditions = conditions
            .into_iter()
            .filter(is_read)
            .collect();
        let status = &mut self.status;
        for container in status
            .init_container_statuses
            .iter_mut()
            .chain(&mut status.container_statuses)
        {
            container.last_state.trim();
        }
    }
}

impl LastState {
    fn is_empty(&self) -> bool {
        self.terminated.is_none()
    }

    /// True if the container was never started because its environment is too long.
    fn was_too_long(&self) -> bool {
        self.terminated
            .as_ref()
            .is_some_and(|ended| {
                let reason = ended.reason.as_deref();
                reason.is_some_and(|reason| NEVER_STARTED.contains(&reason))
                    && says_too_long(ended.message.as_deref())
            })
    }

    /// Drops the container's own messages, which can be of any length.
    fn trim(&mut self) {
        let was_too_long = self.was_too_long();
        match &mut self.terminated {
            Some(ended) if was_too_long => ended.message = Some(TOO_LONG.into()),
            ended => *ended = None,
        }
    }
}

/// Runtimes quote the message in the words of Go or of C.
fn says_too_long(message: Option<&str>) -> bool {
    message.is_some_and(|message| {
        message
            .to_ascii_lowercase()
            .contains(TOO_LONG)
    })
}

impl ObservedPod {
    /// The images that admission recorded; `None` if it never saw the pod. A record of another
    /// version or author counts if it has the same form.
    pub(in crate::reconciler) fn images(&self) -> Option<Vec<ImageDecision>> {
        let annotations = self.metadata.annotations.as_ref()?;
        let recorded: Vec<serde_json::Value> =
            serde_json::from_str(annotations.get(IMAGES_ANNOTATION)?).ok()?;
        let images = recorded
            .into_iter()
            .filter_map(|decision| ImageDecision::deserialize(decision).ok())
            .filter(ImageDecision::fits)
            .take(ImageDecision::MOST)
            .collect();
        Some(images)
    }

    /// True if Kubernetes reports the pod as ready.
    pub(in crate::reconciler) fn is_ready(&self) -> bool {
        self.condition(READY_CONDITION)
            .is_some_and(|condition| &*condition.status == "True")
    }

    /// The condition with the reason why the pod cannot be scheduled.
    pub(in crate::reconciler) fn unschedulable(&self) -> Option<&PodCondition> {
        self.condition(SCHEDULED_CONDITION)
            .filter(|condition| &*condition.status == "False")
    }

    /// The first container that may wait forever.
    pub(in crate::reconciler) fn stuck(&self) -> Option<(&str, &WaitingContainer)> {
        let status = &self.status;
        status
            .init_container_statuses
            .iter()
            .chain(&status.container_statuses)
            .filter_map(|container| Some((&*container.name, container.state.waiting.as_ref()?)))
            .find(|(_, waiting)| {
                !matches!(
                    waiting.reason.as_deref(),
                    None | Some("ContainerCreating" | "PodInitializing")
                )
            })
    }

    /// The first container that waits because its environment is too long for the kernel. During
    /// its back-off, only its last state says so.
    pub(in crate::reconciler) fn container_with_long_environment(&self) -> Option<&str> {
        let status = &self.status;
        status
            .init_container_statuses
            .iter()
            .chain(&status.container_statuses)
            .find(|container| {
                container
                    .state
                    .waiting
                    .as_ref()
                    .is_some_and(|waiting| {
                        says_too_long(waiting.message.as_deref())
                            || container.last_state.was_too_long()
                    })
            })
            .map(|container| &*container.name)
    }

    fn condition(&self, type_: &str) -> Option<&PodCondition> {
        self.status
            .conditions
            .iter()
            .find(|condition| &*condition.type_ == type_)
    }
}

impl Ownership {
    /// The ownership of the pod with this metadata, relative to `owner`.
    pub(in crate::reconciler) fn of<K: Resource<DynamicType = ()>>(
        pod: &ObjectMeta,
        owner: &K,
    ) -> Self {
        let controller = pod
            .owner_references
            .iter()
            .flatten()
            .find(|reference| reference.controller == Some(true));
        let Some(controller) = controller else {
            return Self::Foreign;
        };
        if Some(&controller.uid) == owner.meta().uid.as_ref() {
            Self::Ours
        } else if controller.kind == K::kind(&())
            && controller.api_version == K::api_version(&())
            && Some(&controller.name) == owner.meta().name.as_ref()
        {
            Self::Leftover
        } else {
            Self::Foreign
        }
    }
}

const READY_CONDITION: &str = "Ready";
const SCHEDULED_CONDITION: &str = "PodScheduled";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::reconciler::{
        fixtures::{agent, observed, owner_reference},
        memory::packed::Packed,
    };

    #[test]
    fn a_packed_pod_keeps_what_status_is_made_of() {
        let pod = observed(
            "bot",
            json!({"agentkube.io/images": "[]", "other": "x"}),
            json!({
                "phase": "Running",
                "conditions": [
                    {"type": "Initialized", "status": "True"},
                    {"type": "Ready", "status": "True"},
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"},
                ],
            }),
        );
        let pod = Packed::from(pod).unpack().unwrap();
        assert_eq!(pod.images(), Some(Vec::new()));
        assert!(pod.is_ready());
        assert!(pod.unschedulable().is_some());
        assert_eq!(pod.status.conditions.len(), 2);
        assert_eq!(pod.metadata.annotations.unwrap().len(), 1);
        assert!(pod.metadata.owner_references.is_some());
    }

    #[test]
    fn ownership_goes_by_uid() {
        let agent = agent(json!({"runtime": "Codex"}));
        let of = |references: serde_json::Value| {
            let metadata: ObjectMeta =
                serde_json::from_value(json!({"ownerReferences": references})).unwrap();
            Ownership::of(&metadata, &agent)
        };
        assert_eq!(of(json!([owner_reference("uid-1")])), Ownership::Ours);
        assert_eq!(of(json!([owner_reference("uid-0")])), Ownership::Leftover);
        assert_eq!(of(json!([])), Ownership::Foreign);
        let mut other = owner_reference("uid-0");
        other["kind"] = "Tool".into();
        assert_eq!(of(json!([other])), Ownership::Foreign);
        let mut dependent = owner_reference("uid-1");
        dependent["controller"] = false.into();
        assert_eq!(of(json!([dependent])), Ownership::Foreign);
    }

    #[test]
    fn how_a_container_ended_is_kept_only_where_its_environment_was_too_long() {
        let packed = |reason: &str, said: &str| {
            let status = json!({"initContainerStatuses": [{
                "name": "agentlet", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"reason": reason, "exitCode": 128, "message": said}},
            }]});
            Packed::from(observed("bot", json!({}), status))
                .unpack()
                .unwrap()
        };
        let long = "x".repeat(2_000);
        for said in [
            format!("exec: \"/agentlet\": argument list too long: unknown{long}"),
            format!("exec: Argument list too long{long}"),
        ] {
            let pod = packed("StartError", &said);
            assert_eq!(pod.container_with_long_environment(), Some("agentlet"));
            assert!(
                serde_json::to_string(&pod.status)
                    .unwrap()
                    .len()
                    < 300
            );
        }
        // A container that did run can say anything.
        for (reason, said) in [("StartError", &*long), ("Error", TOO_LONG)] {
            let pod = packed(reason, said);
            assert_eq!(pod.container_with_long_environment(), None);
            let kept = serde_json::to_string(&pod.status).unwrap();
            assert!(!kept.contains("lastState"), "{kept}");
        }
    }

    #[test]
    fn a_container_that_is_just_starting_is_not_stuck() {
        let waiting = |reason: &str| {
            let status = json!({"initContainerStatuses": [{"name": "agentlet", "state": {"waiting": {"reason": reason}}}]});
            observed("bot", json!({}), status)
        };
        assert!(
            waiting("PodInitializing")
                .stuck()
                .is_none()
        );
        assert!(
            waiting("ContainerCreating")
                .stuck()
                .is_none()
        );
        let pod = waiting("ErrImagePull");
        assert_eq!(pod.stuck().unwrap().0, "agentlet");
    }
}
