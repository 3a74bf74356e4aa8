//! The objects and settings that the targets decide with.

use std::sync::LazyLock;

use agentkube::{
    admission::{AgentFacts, Owners, Policy, Review, ToolFacts, Webhook},
    api::{KeyRef, PullPolicy, ToolType},
};

/// Where every image of [`MIRRORED`] comes from.
pub const MIRROR: &str = "registry.example.com/mirror";

/// One configuration of a manager, and the Agent and Tool that every label finds.
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
        generation: 1,
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
            generation: 1,
            type_: ToolType::Ssh,
            image: None,
        },
    }
});

impl World {
    /// What a review asks for: everything that may be asked for exists.
    #[must_use]
    pub fn owners(&self, webhook: Webhook, review: &Review<'_>) -> Owners<'_> {
        let wants = review.wants(webhook);
        Owners {
            agent: wants.agent.map(|_| &self.agent),
            tool: wants.tool.map(|_| &self.tool),
        }
    }
}

fn agent(runtime: &str) -> AgentFacts {
    AgentFacts {
        generation: 1,
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
