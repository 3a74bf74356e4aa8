//! The objects and settings that the targets decide with.

use std::sync::LazyLock;

use agentkube::{
    admission::{AgentFacts, ObjectState, Owners, Policy, Review, ToolFacts, Wanted, Webhook},
    api::{KeyRef, PullPolicy, ToolType},
};

/// Where every image of [`MIRRORED`] comes from.
pub const MIRROR: &str = "registry.example.com/mirror";

/// One configuration of a manager, and the Agent and Tool that every pod finds.
#[derive(Debug)]
pub struct World {
    /// The settings.
    pub policy: Policy,
    agent: AgentFacts,
    tool: ToolFacts,
}

/// A mirror, and an Agent with everything.
pub static MIRRORED: LazyLock<World> = LazyLock::new(|| World {
    policy: policy(&[
        ("AGENTKUBE_IMAGE_REGISTRY", MIRROR),
        ("AGENTKUBE_PULL_SECRETS", "mirror"),
    ]),
    agent: AgentFacts {
        pull_policy: None,
        pull_secrets: ["own".into(), " own ".into(), "".into()].into(),
        ..agent("ClaudeCode")
    },
    tool: ToolFacts {
        uid: "".into(),
        generation: 1,
        is_being_deleted: false,
        type_: ToolType::Custom,
        image: Some(format!("{MIRROR}/team/tool").into()),
    },
});

/// A policy that is only warned of, overrides, and an Agent with an image of its own.
pub static STRICT: LazyLock<World> = LazyLock::new(|| {
    World {
        policy: policy(&[
            ("AGENTKUBE_ALLOWED_REGISTRIES", "registry.example.com,quay.io/team"),
            ("AGENTKUBE_ENFORCEMENT", "warn"),
            ("AGENTKUBE_IMAGE_CODEX", "quay.io/team/codex:latest"),
        ]),
        agent: AgentFacts {
            image: Some("registry.example.com/team/agent@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into()),
            pull_policy: Some(PullPolicy::Never),
            ..agent("Custom")
        },
        tool: ToolFacts {
            uid: "".into(),
            generation: 1,
            is_being_deleted: false,
            type_: ToolType::Ssh,
            image: None,
        },
    }
});

impl World {
    /// What a review asks for: everything that may be asked for exists, in the state that is wanted.
    #[must_use]
    pub fn found(&self, webhook: Webhook, review: &Review<'_>) -> Found {
        let wants = review.wants(webhook);
        Found {
            agent: wants.agent.map(|wanted| {
                let (uid, generation) = state(wanted);
                AgentFacts {
                    uid,
                    generation,
                    ..self.agent.clone()
                }
            }),
            tool: wants.tool.map(|wanted| {
                let (uid, generation) = state(wanted);
                ToolFacts {
                    uid,
                    generation,
                    ..self.tool.clone()
                }
            }),
        }
    }
}

/// The Agent and the Tool that a review asks for.
#[derive(Debug)]
pub struct Found {
    agent: Option<AgentFacts>,
    tool: Option<ToolFacts>,
}

impl Found {
    /// The same, as a decision takes it.
    #[must_use]
    pub fn owners(&self) -> Owners<'_> {
        Owners {
            agent: self.agent.as_ref(),
            tool: self.tool.as_ref(),
        }
    }
}

fn state(wanted: Wanted<'_>) -> (Box<str>, i64) {
    let ObjectState { uid, generation } = wanted.state.unwrap_or(ObjectState {
        uid: "",
        generation: 1,
    });
    (uid.into(), generation)
}

fn agent(runtime: &str) -> AgentFacts {
    AgentFacts {
        uid: "".into(),
        generation: 1,
        is_being_deleted: false,
        runtime: runtime.parse().expect("a runtime"),
        image: None,
        pull_policy: None,
        pull_secrets: [].into(),
        token: Some(Box::new(KeyRef {
            name: "token".to_owned(),
            key: "key".to_owned(),
        })),
    }
}

fn policy(variables: &[(&str, &str)]) -> Policy {
    Policy::parse(variables.iter().copied()).expect("the settings are legal")
}
