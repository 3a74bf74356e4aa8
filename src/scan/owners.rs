use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::object::{ScannedKind, ScannedObject};
use crate::{
    admission::{AgentFacts, Owners, ToolFacts, Wants},
    api::{
        AGENT_GENERATION_ANNOTATION, AGENT_LABEL, Agent, TOOL_GENERATION_ANNOTATION, TOOL_LABEL,
        Tool,
    },
};

/// An Agent or a Tool that a pod is compared with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Owner {
    /// [`ScannedKind::Agent`] or [`ScannedKind::Tool`].
    pub kind: ScannedKind,
    /// The namespace of the object and the pod.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The kept parts of Agents and Tools, by namespace and name.
#[derive(Debug, Default)]
pub(super) struct KnownOwners {
    agents: ByName<KnownAgent>,
    tools: ByName<KnownTool>,
}

type ByName<T> = HashMap<String, HashMap<String, KnownOwner<T>>>;

/// The knowledge about an Agent or a Tool.
#[derive(Debug)]
pub(super) enum KnownOwner<T> {
    /// It does not exist.
    Absent,
    /// It was listed, or read later.
    Found {
        known: T,
        /// True if it was read when a pod was judged, so that it cannot get any newer.
        is_live: bool,
    },
    /// It exists, but cannot be read.
    Unreadable,
}

#[derive(Debug)]
pub(super) struct KnownAgent {
    pub(super) uid: String,
    pub(super) facts: AgentFacts,
    pub(super) records: bool,
    pub(super) paused: bool,
}

#[derive(Debug)]
pub(super) struct KnownTool {
    pub(super) uid: String,
    pub(super) facts: ToolFacts,
}

impl KnownOwners {
    /// Adds an Agent or a Tool from a list.
    pub(super) fn learn(&mut self, object: &ScannedObject<'_>) {
        self.insert(object, false);
    }

    /// Adds the current state of an Agent or a Tool.
    pub(super) fn learn_live(&mut self, owner: &Owner, object: Option<&Value>) {
        let Owner {
            kind,
            namespace,
            name,
        } = owner;
        match object {
            Some(object) => self.insert(&ScannedObject::new(*kind, object), true),
            None if *kind == ScannedKind::Agent => {
                insert(&mut self.agents, namespace, name, KnownOwner::Absent);
            }
            None => insert(&mut self.tools, namespace, name, KnownOwner::Absent),
        }
    }

    /// The Agent that a pod's label names, if it was added.
    pub(super) fn agent(&self, pod: &ScannedObject<'_>) -> Option<&KnownOwner<KnownAgent>> {
        self.agents
            .get(pod.namespace)?
            .get(pod.label(AGENT_LABEL)?)
    }

    /// The Tool that a pod's label names, if it was added.
    pub(super) fn tool(&self, pod: &ScannedObject<'_>) -> Option<&KnownOwner<KnownTool>> {
        self.tools
            .get(pod.namespace)?
            .get(pod.label(TOOL_LABEL)?)
    }

    /// The Agents and Tools that a review needs.
    pub(super) fn owners(&self, namespace: &str, wants: Wants<'_>) -> Owners<'_> {
        Owners {
            agent: wants.agent.and_then(|wanted| {
                let entry = self
                    .agents
                    .get(namespace)?
                    .get(wanted.name)?;
                Some(&entry.found()?.facts)
            }),
            tool: wants.tool.and_then(|wanted| {
                let entry = self
                    .tools
                    .get(namespace)?
                    .get(wanted.name)?;
                Some(&entry.found()?.facts)
            }),
        }
    }

    /// The owners of a pod that were not added, or that are older than the pod.
    pub(super) fn missing(&self, pod: &ScannedObject<'_>) -> Vec<Owner> {
        let owner = |kind, name: &str| Owner {
            kind,
            namespace: pod.namespace.to_owned(),
            name: name.to_owned(),
        };
        let wanted = |annotation| -> i64 {
            pod.annotation(annotation)
                .and_then(|generation| generation.parse().ok())
                .unwrap_or_default()
        };
        let agent = pod.label(AGENT_LABEL).filter(|_| {
            let generation = |known: &KnownAgent| known.facts.generation;
            is_behind(
                self.agent(pod),
                generation,
                wanted(AGENT_GENERATION_ANNOTATION),
            )
        });
        let tool = pod.label(TOOL_LABEL).filter(|_| {
            let generation = |known: &KnownTool| known.facts.generation;
            is_behind(
                self.tool(pod),
                generation,
                wanted(TOOL_GENERATION_ANNOTATION),
            )
        });
        agent
            .map(|name| owner(ScannedKind::Agent, name))
            .into_iter()
            .chain(tool.map(|name| owner(ScannedKind::Tool, name)))
            .collect()
    }

    fn insert(&mut self, object: &ScannedObject<'_>, is_live: bool) {
        let uid = || object.uid().to_owned();
        let ScannedObject {
            namespace, name, ..
        } = *object;
        if object.kind == ScannedKind::Agent {
            let entry = Agent::deserialize(object.value).map_or(KnownOwner::Unreadable, |agent| {
                let known = KnownAgent {
                    uid: uid(),
                    facts: AgentFacts::from(&agent),
                    records: agent.spec.records(),
                    paused: agent.spec.paused,
                };
                KnownOwner::Found { known, is_live }
            });
            insert(&mut self.agents, namespace, name, entry);
        } else {
            let entry = Tool::deserialize(object.value).map_or(KnownOwner::Unreadable, |tool| {
                let known = KnownTool {
                    uid: uid(),
                    facts: ToolFacts::from(&tool),
                };
                KnownOwner::Found { known, is_live }
            });
            insert(&mut self.tools, namespace, name, entry);
        }
    }
}

impl<T> KnownOwner<T> {
    pub(super) fn found(&self) -> Option<&T> {
        match self {
            Self::Found { known, .. } => Some(known),
            Self::Absent | Self::Unreadable => None,
        }
    }
}

fn insert<T>(map: &mut ByName<T>, namespace: &str, name: &str, entry: KnownOwner<T>) {
    map.entry(namespace.to_owned())
        .or_default()
        .insert(name.to_owned(), entry);
}

fn is_behind<T>(
    entry: Option<&KnownOwner<T>>,
    generation: impl Fn(&T) -> i64,
    wanted: i64,
) -> bool {
    match entry {
        None => true,
        Some(KnownOwner::Absent | KnownOwner::Unreadable) => false,
        Some(KnownOwner::Found { known, is_live }) => !is_live && generation(known) < wanted,
    }
}
