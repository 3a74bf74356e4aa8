//! The common view of Agents and Tools for status and reconciliation.

use kube::{Resource, ResourceExt};

use super::memory::written_status::WrittenStatus;
use crate::{
    admission::{Policy, Reason, hide_credentials, names},
    api::{Agent, EXCLUDED_NAMESPACES, ImageDecision, KeyRef, Tool, ToolType},
    workload::{
        AGENT_CONTAINER, PlanRefusal, TOOL_CONTAINER, agent_images, agent_pod_name, tool_images,
        tool_pod_name,
    },
};

/// An Agent or a Tool, with the results of the current rules.
#[derive(Debug)]
pub(super) struct Reconciled<'a> {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) generation: Option<i64>,
    /// The status as last written.
    pub(super) written: Option<&'a WrittenStatus>,
    pub(super) pod: String,
    /// The main container.
    pub(super) main: &'static str,
    /// The Secret that the main container reads.
    pub(super) secret: Option<&'a KeyRef>,
    /// The key of a ConfigMap that holds the goal, which the agentlet gets as a variable.
    pub(super) goal: Option<&'a KeyRef>,
    /// The reason why no pod is wanted; `None` if one is wanted.
    pub(super) no_pod_reason: Option<NoPodReason>,
    /// The image of each container by the current rules.
    pub(super) plan: Result<Vec<ImageDecision>, PlanRefusal>,
}

/// The reason why no pod is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NoPodReason {
    /// A Tool that is reached over the network and needs no pod.
    External,
    /// `spec.paused` of the Agent.
    Paused,
    /// The webhooks are not called in the namespace, so nobody has checked that the author may use
    /// the objects that the pod would get.
    Unserved,
    /// No armed Agent of the namespace lists the Tool.
    Unused,
}

impl<'a> Reconciled<'a> {
    pub(super) fn of_agent(agent: &'a Agent, policy: &Policy) -> Self {
        let spec = &agent.spec;
        let secret = spec
            .agent_token
            .as_ref()
            .map(|token| &token.secret_ref);
        Self {
            pod: agent_pod_name(agent),
            main: AGENT_CONTAINER,
            secret,
            goal: spec
                .goal
                .as_ref()
                .and_then(|goal| goal.config_map_key_ref.as_ref()),
            no_pod_reason: unserved(agent).or_else(|| {
                spec.paused
                    .then_some(NoPodReason::Paused)
            }),
            plan: check_secret("spec.agentToken.secretRef", secret).and_then(|()| {
                agent_images(spec.runtime, spec.image.as_deref(), spec.records(), policy)
            }),
            ..Self::new(agent)
        }
    }

    /// The view of a Tool. `is_used` is true if an armed Agent of the namespace lists it.
    pub(super) fn of_tool(tool: &'a Tool, is_used: bool, policy: &Policy) -> Self {
        let secret = tool
            .spec
            .config
            .as_ref()
            .and_then(|config| config.credentials_ref.as_ref());
        let is_custom = tool.spec.type_ == ToolType::Custom;
        Self {
            pod: tool_pod_name(tool),
            main: TOOL_CONTAINER,
            secret,
            no_pod_reason: match (is_custom, is_used) {
                (false, _) => Some(NoPodReason::External),
                (true, false) => Some(NoPodReason::Unused),
                (true, true) => unserved(tool),
            },
            plan: check_secret("spec.config.credentialsRef", secret).and_then(|()| {
                if is_custom {
                    tool_images(tool.spec.image.as_deref(), policy)
                } else {
                    Ok(Vec::new())
                }
            }),
            ..Self::new(tool)
        }
    }

    /// An Agent or a Tool that this version cannot read.
    pub(super) fn of_unreadable<K>(object: &K, field: &str) -> Self
    where
        K: Resource<DynamicType = ()>,
    {
        let subject = Self::new(object);
        let (pod, main) = if subject.kind == "Tool" {
            (format!("tool-{}", subject.name), TOOL_CONTAINER)
        } else {
            (subject.name.clone(), AGENT_CONTAINER)
        };
        let field = hide_credentials(field);
        Self {
            pod,
            main,
            plan: Err(PlanRefusal {
                reason: Reason::Unreadable,
                message: format!(
                    "this version of agentkube cannot read {field}, so the {} is left unchanged \
                     (hint: correct that field, or run the release that wrote it)",
                    subject.kind
                ),
            }),
            ..subject
        }
    }

    /// True if there should be a pod, and its images are known.
    pub(super) fn wants_pod(&self) -> bool {
        self.no_pod_reason.is_none() && self.plan.is_ok()
    }

    /// The command that deletes the pod, for a hint.
    pub(super) fn delete_pod(&self) -> String {
        format!("`kubectl delete pod -n {} {}`", self.namespace, self.pod)
    }

    /// The hint for a pod that should be replaced. If no pod is wanted, no new one is promised.
    pub(super) fn replace_pod(&self) -> String {
        let command = self.delete_pod();
        if self.wants_pod() {
            format!("(hint: delete it, and a new one is created: {command})")
        } else {
            format!("(hint: delete it: {command})")
        }
    }

    fn new<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self {
            kind: if K::kind(&()) == "Tool" {
                "Tool"
            } else {
                "Agent"
            },
            name: object.name_any(),
            namespace: object.namespace().unwrap_or_default(),
            generation: object.meta().generation,
            written: None,
            pod: String::new(),
            main: "",
            secret: None,
            goal: None,
            no_pod_reason: None,
            plan: Ok(Vec::new()),
        }
    }
}

fn unserved<K: ResourceExt>(object: &K) -> Option<NoPodReason> {
    let namespace = object.namespace()?;
    EXCLUDED_NAMESPACES
        .contains(&namespace.as_str())
        .then_some(NoPodReason::Unserved)
}

/// Checks a reference to a Secret. Values are not repeated, since people paste the token itself
/// into the reference.
fn check_secret(field: &str, reference: Option<&KeyRef>) -> Result<(), PlanRefusal> {
    let is_legal = reference.is_none_or(|reference| {
        names::is_subdomain(&reference.name) && names::is_data_key(&reference.key)
    });
    if is_legal {
        return Ok(());
    }
    Err(PlanRefusal {
        reason: Reason::InvalidSecretRef,
        message: format!(
            "{field}: no Secret can have this name, or this key \
             (hint: set name and key; the credential itself belongs in the Secret)"
        ),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::reconciler::fixtures::{agent, policy, tool};

    fn images(subject: Reconciled<'_>) -> Vec<String> {
        subject
            .plan
            .unwrap()
            .iter()
            .map(|decision| format!("{}={}", decision.container, decision.image))
            .collect()
    }

    #[test]
    fn the_agents_own_container_comes_first() {
        let policy = policy(&[("AGENTKUBE_IMAGE_REGISTRY", "mirror.example.com")]);
        let agent = agent(json!({
            "runtime": "Codex",
            "image": "registry.example.com/mine:v1",
            "sessionRecording": {"enabled": true},
        }));
        assert_eq!(
            images(Reconciled::of_agent(&agent, &policy)),
            [
                "agent=registry.example.com/mine:v1",
                "agentlet=mirror.example.com/adaptivelive/agentkube-agentlet:v0.3.0",
                "session-recorder=mirror.example.com/adaptivelive/agentkube-session-recorder:v0.3.0",
            ]
        );
    }

    #[test]
    fn a_spec_that_cannot_be_served_wants_no_pod() {
        let policy = Policy::default();
        let key = |name: &str| {
            json!({"runtime": "Codex", "paused": false,
                "agentToken": {"secretRef": {"name": name, "key": "token"}}})
        };
        for (spec, reason) in [
            (
                json!({"runtime": "Custom", "paused": false}),
                Reason::ImageRequired,
            ),
            (
                json!({"runtime": "Custom", "paused": false, "image": " "}),
                Reason::ImageRequired,
            ),
            (
                json!({"runtime": "Codex", "paused": false, "image": "https://example.com/x"}),
                Reason::InvalidImage,
            ),
            (key("My_Secret"), Reason::InvalidSecretRef),
        ] {
            let agent = agent(spec);
            let subject = Reconciled::of_agent(&agent, &policy);
            assert!(!subject.wants_pod());
            let refusal = subject.plan.unwrap_err();
            assert_eq!(refusal.reason, reason);
            assert!(!refusal.message.contains("My_Secret"));
        }
        let agent = agent(key("my-secret"));
        assert!(Reconciled::of_agent(&agent, &policy).wants_pod());
    }

    #[test]
    fn only_a_custom_tool_that_is_used_wants_a_pod() {
        let policy = Policy::default();
        let custom = tool(json!({"type": "custom", "image": "registry.example.com/t:v1"}));
        let redis = tool(json!({"type": "redis"}));
        assert!(Reconciled::of_tool(&custom, true, &policy).wants_pod());
        assert!(!Reconciled::of_tool(&custom, false, &policy).wants_pod());
        assert!(!Reconciled::of_tool(&redis, true, &policy).wants_pod());
    }
}
