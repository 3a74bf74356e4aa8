//! The state of an Agent or a Tool: a reason in one word, and a sentence to act on.

use crate::{
    admission::Reason,
    api::{ImageDecision, Phase},
    images::Source,
    reconciler::{
        memory::observed::{ObservedPod, WaitingContainer},
        reconciled::{NoPodReason, Reconciled},
    },
    workload::{AGENTLET_CONTAINER, PlanRefusal, rule},
};

/// The longest goal that Linux can start a process with. A variable, with its name and its final
/// NUL, may take 128 KiB.
const LONGEST_GOAL_BYTES: usize = 128 * 1024 - "AGENTKUBE_AGENT_GOAL=".len() - 1;

/// The observation under the name of the pod.
#[derive(Clone, Copy, Debug)]
pub(in crate::reconciler) enum PodObservation<'a> {
    /// No pod, because the API server refuses to create it; holds its message.
    CreateFailed(&'a str),
    /// The pod of a deleted object of the same name, which has yet to be collected.
    Leftover,
    /// A pod of another owner.
    NameTaken,
    /// No pod.
    Nothing,
    /// The object's own pod.
    Pod(&'a ObservedPod),
    /// The object's own pod, with a field that this version cannot read.
    UnreadablePod { field: &'a str },
}

/// Phase, ready count and the condition `Ready` of a status.
#[derive(Debug)]
pub(in crate::reconciler) struct AgentState {
    pub(in crate::reconciler) phase: Option<Phase>,
    pub(in crate::reconciler) ready: Option<&'static str>,
    /// `None` if it is unknown.
    pub(in crate::reconciler) is_ready: Option<bool>,
    pub(in crate::reconciler) reason: String,
    pub(in crate::reconciler) message: String,
}

impl AgentState {
    pub(in crate::reconciler) fn of(subject: &Reconciled<'_>, seen: PodObservation<'_>) -> Self {
        let name = &subject.pod;
        match (seen, &subject.plan, subject.no_pod_reason) {
            (PodObservation::Pod(pod), _, no_pod_reason) => {
                Self::of_pod(subject, pod).resting(subject, no_pod_reason)
            }
            (PodObservation::UnreadablePod { field }, _, no_pod_reason) => {
                Self::of_unreadable_pod(subject, field).resting(subject, no_pod_reason)
            }
            (_, Err(PlanRefusal { message, .. }), _) => {
                Self::waiting(Phase::Failed, "NotAccepted", message.clone())
            }
            (_, _, Some(no_pod_reason)) => Self::at_rest(no_pod_reason),
            // A quota can be raised or an account created without a change to the object.
            (PodObservation::CreateFailed(error), _, None) => Self::waiting(
                Phase::Pending,
                "PodCreateFailed",
                format!("pod `{name}` could not be created and is retried: {error}"),
            ),
            (PodObservation::Leftover, _, None) => Self::waiting(
                Phase::Pending,
                "PodTerminating",
                format!(
                    "pod `{name}` still belongs to a deleted {} of this name; a new one is created once it is gone",
                    subject.kind
                ),
            ),
            (PodObservation::NameTaken, _, None) => Self::waiting(
                Phase::Failed,
                "PodNameTaken",
                format!(
                    "there is a pod `{name}` that does not belong to this {kind}; it is left unchanged \
                     (hint: delete that pod, or give the {kind} another name)",
                    kind = subject.kind
                ),
            ),
            (PodObservation::Nothing, _, None) => Self::waiting(
                Phase::Pending,
                "PodMissing",
                format!("pod `{name}` is about to be created"),
            ),
        }
    }

    fn of_pod(subject: &Reconciled<'_>, pod: &ObservedPod) -> Self {
        let name = &subject.pod;
        let status = &pod.status;
        if pod
            .metadata
            .deletion_timestamp
            .is_some()
        {
            return Self::waiting(
                Phase::Pending,
                "PodTerminating",
                format!("pod `{name}` is being deleted"),
            );
        }
        let phase = match status.phase.as_str() {
            "Failed" | "Succeeded" => return Self::ended(subject, pod),
            "Running" => Phase::Running,
            _ => Phase::Pending,
        };
        if let Some(container) = pod.container_with_long_environment() {
            return Self::environment_too_long(subject, phase, container);
        }
        if let Some((container, waiting)) = pod.stuck() {
            return Self::stuck(subject, pod, phase, container, waiting);
        }
        if let Some(condition) = pod.unschedulable() {
            let why = condition
                .message
                .as_deref()
                .unwrap_or("the scheduler gives no reason");
            return Self::waiting(
                phase,
                &reason(condition.reason.as_deref(), "Unschedulable"),
                format!("pod `{name}` cannot be scheduled: {why}"),
            );
        }
        if phase == Phase::Running && pod.is_ready() {
            return Self {
                phase: Some(phase),
                ready: Some("1/1"),
                is_ready: Some(true),
                reason: "PodReady".to_owned(),
                message: format!("pod `{name}` is ready"),
            };
        }
        let (reason, what) = match phase {
            Phase::Running => ("PodNotReady", "runs, but is not ready"),
            _ => ("PodPending", "is starting"),
        };
        Self::waiting(phase, reason, format!("pod `{name}` {what}"))
    }

    /// The state of an unreadable pod, of which nothing is known.
    fn of_unreadable_pod(subject: &Reconciled<'_>, field: &str) -> Self {
        Self {
            phase: None,
            ready: None,
            is_ready: None,
            reason: Reason::Unreadable.as_str().to_owned(),
            message: unreadable_pod(subject, field),
        }
    }

    /// A pod that always restarts its containers only ends if its node gives it up.
    fn ended(subject: &Reconciled<'_>, pod: &ObservedPod) -> Self {
        let status = &pod.status;
        let why = status
            .message
            .as_deref()
            .map_or("its node gives no reason", |message| {
                message.trim_end_matches('.')
            });
        Self::waiting(
            Phase::Failed,
            &reason(status.reason.as_deref(), "PodEnded"),
            format!(
                "pod `{}` has ended and will not run again: {why} {}",
                subject.pod,
                subject.replace_pod()
            ),
        )
    }

    /// The message does not depend on the kubelet's words, which change from one try to the next.
    fn environment_too_long(subject: &Reconciled<'_>, phase: Phase, container: &str) -> Self {
        let hint = match subject.goal {
            Some(goal) if container == AGENTLET_CONTAINER => format!(
                "the goal may have at most {LONGEST_GOAL_BYTES} bytes; shorten the key `{}` of ConfigMap `{}`",
                goal.key, goal.name
            ),
            _ => "Kubernetes adds variables for each Service of the namespace; use one with fewer"
                .to_owned(),
        };
        Self::waiting(
            phase,
            "EnvironmentTooLong",
            format!(
                "container `{container}` cannot be started: its environment is longer than Linux allows (hint: {hint})"
            ),
        )
    }

    fn stuck(
        subject: &Reconciled<'_>,
        pod: &ObservedPod,
        phase: Phase,
        container: &str,
        waiting: &WaitingContainer,
    ) -> Self {
        let reason = reason(waiting.reason.as_deref(), "ContainerWaiting");
        let mut message = format!("container `{container}` waits: {reason}");
        if let Some(detail) = waiting.message.as_deref() {
            message = format!("{message}: {detail}");
        }
        let images = pod.images();
        let decision = images
            .iter()
            .flatten()
            .find(|decision| decision.container == container);
        match decision {
            Some(decision) => {
                message = format!("{message}; its image {} {}", decision.image, rule(decision));
            }
            // Without admission the image is still a placeholder, which cannot be pulled.
            None if images.is_none() => {
                message = format!("{message}; the pod never passed admission");
            }
            None => {}
        }
        if images.is_none() {
            message = format!("{message} {}", subject.replace_pod());
        } else if let Some(hint) = hint(subject, container, &reason, decision) {
            message = format!("{message} (hint: {hint})");
        }
        Self::waiting(phase, &reason, message)
    }

    fn at_rest(no_pod_reason: NoPodReason) -> Self {
        let (phase, ready, reason, message) = match no_pod_reason {
            NoPodReason::External => (
                None,
                None,
                "External",
                "the Tool is reached over the network and needs no pod",
            ),
            NoPodReason::Paused => (
                Some(Phase::Paused),
                Some("0/0"),
                "Paused",
                "spec.paused is true, so there is no pod (hint: review status.images, then set spec.paused to false)",
            ),
            NoPodReason::Unserved => (
                Some(Phase::Failed),
                Some("0/0"),
                "NotServed",
                "the webhooks exclude this namespace, so there is no pod (hint: use another namespace)",
            ),
            NoPodReason::Unused => (
                Some(Phase::Paused),
                Some("0/0"),
                "Unused",
                "no armed Agent of this namespace lists the Tool, so there is no pod \
                 (hint: list it in spec.tools of an Agent whose spec.paused is false)",
            ),
        };
        Self {
            phase,
            ready,
            is_ready: Some(false),
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    /// A pod that is no longer wanted is kept, and the message says so.
    fn resting(mut self, subject: &Reconciled<'_>, no_pod_reason: Option<NoPodReason>) -> Self {
        let is_going = self.reason == "PodTerminating";
        let why = match no_pod_reason {
            None => return self,
            Some(_) if is_going => return self,
            Some(NoPodReason::External) => "the Tool needs no pod any more",
            Some(NoPodReason::Paused) => "spec.paused is true",
            Some(NoPodReason::Unserved) => "the webhooks exclude this namespace",
            Some(NoPodReason::Unused) => "no armed Agent of this namespace lists the Tool any more",
        };
        self.message = format!(
            "{}; {why}, but the existing pod is kept (hint: delete it to stop it: {})",
            self.message,
            subject.delete_pod()
        );
        self
    }

    fn waiting(phase: Phase, reason: &str, message: String) -> Self {
        Self {
            phase: Some(phase),
            ready: Some("0/1"),
            is_ready: Some(false),
            reason: reason.to_owned(),
            message,
        }
    }
}

/// The message for a pod that cannot be read.
pub(in crate::reconciler) fn unreadable_pod(subject: &Reconciled<'_>, field: &str) -> String {
    format!(
        "this version of agentkube cannot read {field} of pod `{}`, so its state is unknown {}",
        subject.pod,
        subject.replace_pod()
    )
}

fn hint(
    subject: &Reconciled<'_>,
    container: &str,
    reason: &str,
    decision: Option<&ImageDecision>,
) -> Option<String> {
    match reason {
        "CreateContainerConfigError" if container == subject.main => {
            let secret = subject.secret?;
            Some(format!(
                "check that Secret `{}` exists and has the key `{}`",
                secret.name, secret.key
            ))
        }
        "CrashLoopBackOff" => {
            let logs = format!(
                "read why it ended: `kubectl logs -n {} {} -c {container} --previous`",
                subject.namespace, subject.pod
            );
            Some(match subject.goal {
                // Some runtimes report it only there.
                Some(goal) if container == AGENTLET_CONTAINER => format!(
                    "{logs}; if its argument list was too long, the goal has more than {LONGEST_GOAL_BYTES} bytes, \
                     in the key `{}` of ConfigMap `{}`",
                    goal.key, goal.name
                ),
                _ => logs,
            })
        }
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
            let decision = decision?;
            Some(match (decision.source, decision.variable.as_deref()) {
                (Source::Resource, _) => {
                    "check spec.image and spec.imagePullSecrets".to_owned()
                }
                (Source::Mirror, Some(variable)) => format!(
                    "check that the mirror in {variable} has it and that the pull secret exists"
                ),
                (_, Some(variable)) => format!("check {variable} of the manager"),
                (_, None) => {
                    "check that nodes can reach its registry, or set AGENTKUBE_IMAGE_REGISTRY of the manager to a mirror"
                        .to_owned()
                }
            })
        }
        _ => None,
    }
}

/// A reason of Kubernetes if it has the form that conditions require, or else our own.
fn reason(given: Option<&str>, own: &str) -> String {
    let is_word = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_alphabetic())
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric())
    };
    given
        .filter(is_word)
        .unwrap_or(own)
        .to_owned()
}
