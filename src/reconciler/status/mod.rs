//! The status of an Agent or a Tool, computed from the rules and from the observed pod.

pub(in crate::reconciler) mod state;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::{Value, json};

use self::state::{AgentState, PodObservation, unreadable_pod};
use super::{
    memory::written_status::WrittenStatus,
    reconciled::{NoPodReason, Reconciled},
};
use crate::{
    admission::{Reason, hide_credentials},
    api::{ConditionType, ImageDecision, LONGEST_CONDITION_MESSAGE, Status},
    workload::{PlanRefusal, changes},
};

/// The wanted status. `now` is the time of conditions that change.
pub(super) fn status(subject: &Reconciled<'_>, seen: PodObservation<'_>, now: Timestamp) -> Status {
    let verdict = AgentState::of(subject, seen);
    let record = Record::of(seen);
    let mut conditions = vec![accepted(subject)];
    let has_pod = !matches!(record, Record::NoPod);
    // A Tool that needs no pod is never ready or current, which would look like a fault.
    if has_pod || subject.no_pod_reason != Some(NoPodReason::External) {
        conditions.push(ConditionDraft {
            type_: ConditionType::Ready,
            status: match verdict.is_ready {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            },
            reason: verdict.reason,
            message: verdict.message,
        });
        conditions.push(images_current(subject, &record));
    }
    Status {
        phase: verdict.phase,
        ready: verdict.ready.map(str::to_owned),
        observed_generation: subject.generation,
        images: match record {
            Record::Images(images) => main_first(images, subject.main),
            Record::NeverAdmitted => Vec::new(),
            Record::NoPod | Record::Unreadable { .. } => subject.plan.clone().unwrap_or_default(),
        },
        conditions: conditions
            .into_iter()
            .map(|finding| finding.into_condition(subject, now))
            .collect(),
    }
}

/// A merge patch that replaces the whole status: absent fields are set to null.
pub(super) fn patch(status: &Status) -> Value {
    let Status {
        phase,
        ready,
        observed_generation,
        images,
        conditions,
    } = status;
    json!({"status": {
        "phase": phase,
        "ready": ready,
        "observedGeneration": observed_generation,
        "images": images,
        "conditions": conditions,
    }})
}

/// The condition `Ready`, if it reports a problem that it did not report before.
pub(super) fn problem<'s>(
    status: &'s Status,
    written: Option<&WrittenStatus>,
) -> Option<&'s Condition> {
    let ready = ready(status)?;
    let known = written
        .and_then(WrittenStatus::ready_reason)
        .unwrap_or_default();
    let is_problem = ready.status != "True" && !CALM.contains(&ready.reason.as_str());
    (is_problem && ready.reason != known).then_some(ready)
}

/// True if there is nothing to report except that the pod is starting. An object that was ready
/// before is always reported.
pub(super) fn is_just_starting(status: &Status, written: Option<&WrittenStatus>) -> bool {
    let is_pending = ready(status).is_some_and(|ready| ready.reason == "PodPending");
    is_pending && !written.is_some_and(WrittenStatus::was_ready)
}

/// Reasons for not being ready that are not problems.
const CALM: [&str; 7] = [
    "External",
    "Paused",
    "PodMissing",
    "PodNotReady",
    "PodPending",
    "PodTerminating",
    "Unused",
];

fn ready(status: &Status) -> Option<&Condition> {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == ConditionType::Ready.as_str())
}

/// The record of admission on a pod.
enum Record<'a> {
    Images(Vec<ImageDecision>),
    /// There is a pod, but admission never saw it.
    NeverAdmitted,
    NoPod,
    /// There is a pod, but this version cannot read the field.
    Unreadable {
        field: &'a str,
    },
}

impl<'a> Record<'a> {
    fn of(seen: PodObservation<'a>) -> Self {
        match seen {
            PodObservation::Pod(pod) => pod
                .images()
                .map_or(Self::NeverAdmitted, Self::Images),
            PodObservation::UnreadablePod { field } => Self::Unreadable { field },
            PodObservation::CreateFailed(_)
            | PodObservation::Leftover
            | PodObservation::NameTaken
            | PodObservation::Nothing => Self::NoPod,
        }
    }
}

/// A condition without its time.
struct ConditionDraft {
    type_: ConditionType,
    status: &'static str,
    reason: String,
    message: String,
}

impl ConditionDraft {
    fn into_condition(self, subject: &Reconciled<'_>, now: Timestamp) -> Condition {
        let since = subject
            .written
            .and_then(|written| written.since(self.type_, self.status));
        Condition {
            last_transition_time: Time(since.unwrap_or(now)),
            // The kubelet and the API server quote invalid values.
            message: hide_credentials(&self.message)
                .chars()
                .take(LONGEST_CONDITION_MESSAGE)
                .collect(),
            observed_generation: subject.generation,
            reason: self.reason,
            status: self.status.to_owned(),
            type_: self.type_.as_str().to_owned(),
        }
    }
}

fn accepted(subject: &Reconciled<'_>) -> ConditionDraft {
    let (status, reason, message) = match &subject.plan {
        Ok(_) => ("True", "Accepted", "the spec is accepted".to_owned()),
        Err(PlanRefusal { reason, message }) => ("False", reason.as_str(), message.clone()),
    };
    ConditionDraft {
        type_: ConditionType::Accepted,
        status,
        reason: reason.to_owned(),
        message,
    }
}

/// Compares the recorded images with those of the current rules. The pod's own images are not used,
/// since other webhooks may rewrite them.
fn images_current(subject: &Reconciled<'_>, record: &Record<'_>) -> ConditionDraft {
    let finding = |status, reason: &str, message| ConditionDraft {
        type_: ConditionType::ImagesCurrent,
        status,
        reason: reason.to_owned(),
        message,
    };
    let recorded = match record {
        Record::Images(images) => images,
        Record::NeverAdmitted => {
            return finding(
                "Unknown",
                "NotRecorded",
                format!(
                    "pod `{}` never passed admission {}",
                    subject.pod,
                    subject.replace_pod()
                ),
            );
        }
        Record::NoPod => return finding("Unknown", "NoPod", "there is no pod".to_owned()),
        Record::Unreadable { field } => {
            return finding(
                "Unknown",
                Reason::Unreadable.as_str(),
                unreadable_pod(subject, field),
            );
        }
    };
    let Ok(plan) = &subject.plan else {
        return finding(
            "Unknown",
            "NotAccepted",
            "the spec is not accepted, so its images are unknown".to_owned(),
        );
    };
    let changes = changes(plan, recorded);
    if changes.is_empty() {
        return finding(
            "True",
            "Current",
            "the pod runs the images of the current rules".to_owned(),
        );
    }
    finding(
        "False",
        "Outdated",
        format!(
            "pod `{}` is behind: {} {}",
            subject.pod,
            changes.join("; "),
            subject.replace_pod()
        ),
    )
}

/// Puts the main container first, whose image the column IMAGE of `kubectl get -o wide` shows.
fn main_first(mut images: Vec<ImageDecision>, main: &str) -> Vec<ImageDecision> {
    images.sort_by_key(|decision| decision.container != main);
    images
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        admission::Policy,
        api::{Agent, Phase},
        reconciler::{
            fixtures::{agent, observed, policy, tool},
            memory::observed::ObservedPod,
        },
    };

    const LATER: i64 = 2_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn of(agent: &Agent, seen: PodObservation<'_>, policy: &Policy) -> Status {
        status(&Reconciled::of_agent(agent, policy), seen, at(1_000))
    }

    fn armed() -> Agent {
        agent(json!({"runtime": "Codex", "paused": false,
            "agentToken": {"secretRef": {"name": "codex-token", "key": "token"}}}))
    }

    fn condition(status: &Status, type_: &str) -> String {
        let condition = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == type_)
            .unwrap();
        format!(
            "{} {}: {}",
            condition.status, condition.reason, condition.message
        )
    }

    /// The annotation that admission writes for an Agent under a policy.
    fn recorded(agent: &Agent, policy: &Policy) -> Value {
        let plan = Reconciled::of_agent(agent, policy)
            .plan
            .unwrap();
        json!({"agentkube.io/images": serde_json::to_string(&plan).unwrap()})
    }

    fn waiting(container: &str, reason: &str) -> ObservedPod {
        let agent = armed();
        let policy = policy(&[("AGENTKUBE_IMAGE_CODEX", "registry.example.com/codex:v9")]);
        let mut waiting = json!({"reason": reason});
        if reason != "CrashLoopBackOff" {
            waiting["message"] = "the kubelet's words".into();
        }
        let statuses = json!([{"name": container, "state": {"waiting": waiting}}]);
        let phase = if reason == "CrashLoopBackOff" {
            "Running"
        } else {
            "Pending"
        };
        let key = if container == "agent" {
            "containerStatuses"
        } else {
            "initContainerStatuses"
        };
        observed(
            "bot",
            recorded(&agent, &policy),
            json!({"phase": phase, key: statuses}),
        )
    }

    #[test]
    fn a_paused_agent_shows_what_would_run() {
        let agent = agent(json!({"runtime": "ClaudeCode", "sessionRecording": {"enabled": true}}));
        let policy = policy(&[
            ("AGENTKUBE_IMAGE_REGISTRY", "mirror.example.com"),
            (
                "AGENTKUBE_IMAGE_AGENTLET",
                "registry.example.com/agentlet:v9",
            ),
        ]);
        insta::assert_yaml_snapshot!(of(&agent, PodObservation::Nothing, &policy));
    }

    #[test]
    fn a_ready_agent() {
        let agent = armed();
        let pod = observed(
            "bot",
            recorded(&agent, &Policy::default()),
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}),
        );
        insta::assert_yaml_snapshot!(of(&agent, PodObservation::Pod(&pod), &Policy::default()));
    }

    #[test]
    fn every_state_has_words_that_a_person_can_act_on() {
        let agent = armed();
        let none = Policy::default();
        let pod = |status: Value| observed("bot", recorded(&agent, &none), status);
        let mut terminating = pod(json!({"phase": "Running"}));
        terminating.metadata = serde_json::from_value(json!({
            "name": "bot", "deletionTimestamp": "2026-11-22T14:00:00Z",
        }))
        .unwrap();
        let mut lines = Vec::new();
        let mut show = |seen: PodObservation<'_>| {
            let status = of(&agent, seen, &none);
            lines.push(format!(
                "{:?} {} {}",
                status.phase.unwrap(),
                status.ready.as_deref().unwrap(),
                condition(&status, "Ready")
            ));
        };
        show(PodObservation::Nothing);
        show(PodObservation::CreateFailed("exceeded quota: compute"));
        show(PodObservation::NameTaken);
        show(PodObservation::Leftover);
        show(PodObservation::Pod(&terminating));
        show(PodObservation::Pod(&pod(json!({}))));
        show(PodObservation::Pod(&pod(json!({"phase": "Pending"}))));
        show(PodObservation::Pod(&pod(json!({"phase": "Running"}))));
        show(PodObservation::Pod(&pod(
            json!({"phase": "Pending", "conditions": [{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "message": "0/3 nodes are available: 3 Insufficient cpu.",
            }]}),
        )));
        show(PodObservation::Pod(&pod(
            json!({"phase": "Failed", "reason": "Evicted",
            "message": "The node was low on resource: memory."}),
        )));
        show(PodObservation::Pod(&pod(json!({"phase": "Succeeded"}))));
        show(PodObservation::Pod(&waiting("agent", "ErrImagePull")));
        show(PodObservation::Pod(&waiting("agent", "InvalidImageName")));
        show(PodObservation::Pod(&waiting(
            "agentlet",
            "ImagePullBackOff",
        )));
        show(PodObservation::Pod(&waiting(
            "agent",
            "CreateContainerConfigError",
        )));
        show(PodObservation::Pod(&waiting(
            "agentlet",
            "CreateContainerConfigError",
        )));
        show(PodObservation::Pod(&waiting("agent", "CrashLoopBackOff")));
        show(PodObservation::Pod(&observed(
            "bot",
            json!({}),
            json!({"phase": "Pending",
            "containerStatuses": [{"name": "agent", "state": {"waiting": {"reason": "ErrImagePull"}}}]}),
        )));
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn a_goal_that_no_process_can_be_started_with_is_named() {
        let mut agent = armed();
        agent.spec.goal =
            serde_json::from_value(json!({"configMapKeyRef": {"name": "goals", "key": "triage"}}))
                .unwrap();
        let pod = |container: &str, message: &str, ended: &str| {
            let state = json!({
                "name": container,
                "state": {"waiting": {"reason": "RunContainerError", "message": message}},
                "lastState": {"terminated": {"reason": "StartError", "message": ended}},
            });
            observed(
                "bot",
                recorded(&agent, &Policy::default()),
                json!({"phase": "Pending", "initContainerStatuses": [state]}),
            )
        };
        let none = Policy::default();
        let ready =
            |pod: &ObservedPod| condition(&of(&agent, PodObservation::Pod(pod), &none), "Ready");
        let kernel = "failed to create containerd task: failed to create shim task: OCI runtime create failed: \
                      runc create failed: unable to start container process: error during container init: \
                      exec: \"/agentlet\": argument list too long: unknown";
        // It fails first, and is then delayed.
        for (now, before) in [
            (kernel, ""),
            ("back-off 10s restarting failed container", kernel),
        ] {
            assert_eq!(
                ready(&pod("agentlet", now, before)),
                "False EnvironmentTooLong: container `agentlet` cannot be started: its environment is longer than Linux allows \
                 (hint: the goal may have at most 131050 bytes; shorten the key `triage` of ConfigMap `goals`)"
            );
        }
        assert!(ready(&pod("session-recorder", kernel, "")).contains("for each Service"));
        assert!(!ready(&pod("agentlet", "another trouble", "")).contains("goals"));
        // If the runtime reports it only in the log, the message points there.
        let crashing = json!({"phase": "Pending", "initContainerStatuses": [
            {"name": "agentlet", "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
        ]});
        let crashing = observed("bot", recorded(&agent, &none), crashing);
        assert!(ready(&crashing).ends_with(
            "(hint: read why it ended: `kubectl logs -n adaptive bot -c agentlet --previous`; if its argument list was too long, \
             the goal has more than 131050 bytes, in the key `triage` of ConfigMap `goals`)"
        ));
    }

    #[test]
    fn a_pod_that_cannot_be_read_is_named_and_nothing_else_is_claimed_of_it() {
        let mut agent = armed();
        let seen = PodObservation::UnreadablePod {
            field: "status.phase",
        };
        let status = of(&agent, seen, &Policy::default());
        assert_eq!((status.phase, status.ready.as_deref()), (None, None));
        let said = "Unknown Unreadable: this version of agentkube cannot read status.phase of pod `bot`, so its state is unknown \
                    (hint: delete it, and a new one is created: `kubectl delete pod -n adaptive bot`)";
        assert_eq!(condition(&status, "Ready"), said);
        assert_eq!(condition(&status, "ImagesCurrent"), said);
        assert!(condition(&status, "Accepted").starts_with("True "));
        // An Event reports it, once.
        assert_eq!(problem(&status, None).unwrap().reason, "Unreadable");
        assert!(problem(&status, Some(&WrittenStatus::of(&status))).is_none());

        agent.spec.paused = true;
        let status = of(&agent, seen, &Policy::default());
        assert!(
            condition(&status, "Ready")
                .contains("spec.paused is true, but the existing pod is kept")
        );
        // A Tool that needs no pod may still have an old one.
        let redis = tool(json!({"type": "redis"}));
        let redis = Reconciled::of_tool(&redis, true, &Policy::default());
        assert_eq!(
            super::status(&redis, seen, at(1_000))
                .conditions
                .len(),
            3
        );
    }

    #[test]
    fn pausing_keeps_the_pod_and_says_so() {
        let mut agent = armed();
        let pod = observed(
            "bot",
            recorded(&agent, &Policy::default()),
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}),
        );
        agent.spec.paused = true;
        let status = of(&agent, PodObservation::Pod(&pod), &Policy::default());
        assert_eq!(status.phase, Some(Phase::Running));
        assert_eq!(status.ready.as_deref(), Some("1/1"));
        assert_eq!(
            condition(&status, "Ready"),
            "True PodReady: pod `bot` is ready; spec.paused is true, but the existing pod is kept \
             (hint: delete it to stop it: `kubectl delete pod -n adaptive bot`)"
        );
    }

    #[test]
    fn a_spec_that_entered_while_admission_was_away_is_not_accepted() {
        let agent = agent(json!({"runtime": "Custom", "paused": false}));
        let status = of(&agent, PodObservation::Nothing, &Policy::default());
        assert_eq!(status.phase, Some(Phase::Failed));
        assert!(status.images.is_empty());
        assert_eq!(
            condition(&status, "Accepted"),
            "False ImageRequired: there is no default image (hint: set spec.image to the image that should run)"
        );
        assert!(condition(&status, "Ready").starts_with("False NotAccepted: "));
    }

    #[test]
    fn images_are_current_by_what_was_recorded() {
        let agent = armed();
        let now = policy(&[("AGENTKUBE_IMAGE_CODEX", "registry.example.com/codex:v9")]);
        let current = |annotations: Value, policy: &Policy| {
            let pod = observed("bot", annotations, json!({"phase": "Running"}));
            condition(
                &of(&agent, PodObservation::Pod(&pod), policy),
                "ImagesCurrent",
            )
        };
        let hint =
            "(hint: delete it, and a new one is created: `kubectl delete pod -n adaptive bot`)";
        assert!(current(recorded(&agent, &now), &now).starts_with("True Current: "));
        assert_eq!(
            current(recorded(&agent, &Policy::default()), &now),
            format!(
                "False Outdated: pod `bot` is behind: container `agent` was given docker.io/adaptivelive/codex:v0.3.0, \
                 but registry.example.com/codex:v9 was chosen by AGENTKUBE_IMAGE_CODEX (override) {hint}"
            )
        );
        assert!(current(json!({}), &now).starts_with("Unknown NotRecorded: "));
        let status = of(&agent, PodObservation::Nothing, &now);
        assert!(condition(&status, "ImagesCurrent").starts_with("Unknown NoPod: "));
    }

    #[test]
    fn the_same_image_by_another_rule_is_current() {
        let agent = armed();
        let same = policy(&[(
            "AGENTKUBE_IMAGE_CODEX",
            "docker.io/adaptivelive/codex:v0.3.0",
        )]);
        let pod = observed("bot", recorded(&agent, &Policy::default()), json!({}));
        let status = of(&agent, PodObservation::Pod(&pod), &same);
        assert!(condition(&status, "ImagesCurrent").starts_with("True "));
    }

    #[test]
    fn switching_the_recording_changes_what_is_current() {
        let mut agent = armed();
        let none = Policy::default();
        let without = recorded(&agent, &none);
        agent.spec.session_recording = serde_json::from_value(json!({"enabled": true})).unwrap();
        let with = recorded(&agent, &none);
        let current = |agent: &Agent, annotations: &Value| {
            let pod = observed("bot", annotations.clone(), json!({}));
            condition(
                &of(agent, PodObservation::Pod(&pod), &none),
                "ImagesCurrent",
            )
        };
        assert!(current(&agent, &without).contains("`session-recorder` is missing from the pod"));
        agent.spec.session_recording = None;
        assert!(
            current(&agent, &with)
                .contains("`session-recorder` is in the pod, but no longer needed")
        );
    }

    #[test]
    fn the_recorded_images_are_shown_with_the_agent_first() {
        let agent = armed();
        let mut plan = Reconciled::of_agent(&agent, &Policy::default())
            .plan
            .unwrap();
        plan.reverse();
        let annotations = json!({"agentkube.io/images": serde_json::to_string(&plan).unwrap()});
        let pod = observed("bot", annotations, json!({"phase": "Running"}));
        let moved = policy(&[("AGENTKUBE_IMAGE_REGISTRY", "mirror.example.com")]);
        let images = of(&agent, PodObservation::Pod(&pod), &moved).images;
        assert_eq!(images[0].container, "agent");
        assert_eq!(images[0].image, "docker.io/adaptivelive/codex:v0.3.0");
    }

    #[test]
    fn a_condition_keeps_its_time_until_its_status_changes() {
        let agent = armed();
        let none = Policy::default();
        let written = WrittenStatus::of(&of(&agent, PodObservation::Nothing, &none));
        let pod = observed(
            "bot",
            recorded(&agent, &none),
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}),
        );
        let subject = Reconciled {
            written: Some(&written),
            ..Reconciled::of_agent(&agent, &none)
        };
        let later = status(&subject, PodObservation::Pod(&pod), at(LATER));
        let since = |type_: &str| {
            later
                .conditions
                .iter()
                .find(|condition| condition.type_ == type_)
                .unwrap()
                .last_transition_time
                .0
        };
        assert_eq!(since("Accepted"), at(1_000));
        assert_eq!(since("Ready"), at(LATER));
    }

    #[test]
    fn a_patch_clears_what_is_no_longer_there() {
        let patch = patch(&Status::default());
        assert_eq!(patch["status"]["images"], json!([]));
        assert!(patch["status"]["phase"].is_null());
        assert!(
            patch["status"]
                .as_object()
                .unwrap()
                .contains_key("phase")
        );
    }

    #[test]
    fn a_problem_is_told_once() {
        let agent = armed();
        let none = Policy::default();
        let failed = of(&agent, PodObservation::CreateFailed("quota"), &none);
        let fine = of(&agent, PodObservation::Nothing, &none);
        assert_eq!(
            problem(&failed, Some(&WrittenStatus::of(&fine)))
                .unwrap()
                .reason,
            "PodCreateFailed"
        );
        assert_eq!(problem(&failed, None).unwrap().reason, "PodCreateFailed");
        assert!(problem(&failed, Some(&WrittenStatus::of(&failed))).is_none());
        assert!(problem(&fine, Some(&WrittenStatus::of(&failed))).is_none());
    }

    #[test]
    fn a_tool_that_is_no_custom_one_is_only_accepted() {
        let redis = tool(json!({"type": "redis"}));
        let subject = Reconciled::of_tool(&redis, true, &Policy::default());
        let status = status(&subject, PodObservation::Nothing, at(1_000));
        assert_eq!(status.phase, None);
        assert_eq!(status.conditions.len(), 1);
        assert!(condition(&status, "Accepted").starts_with("True "));
    }

    #[test]
    fn a_custom_tool_waits_for_an_armed_agent() {
        let custom = tool(json!({"type": "custom", "image": "registry.example.com/t:v1"}));
        let subject = Reconciled::of_tool(&custom, false, &Policy::default());
        let status = status(&subject, PodObservation::Nothing, at(1_000));
        assert_eq!(status.phase, Some(Phase::Paused));
        assert_eq!(status.images[0].image, "registry.example.com/t:v1");
        assert!(condition(&status, "Ready").starts_with("False Unused: no armed Agent"));
    }
}
