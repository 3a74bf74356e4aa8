//! What the audit log tells, as states of objects in the order in which they were stored.

use std::collections::BTreeMap;

use serde_json::Value;

use super::audit::Event;

/// What an Agent or a Tool may change without steering what runs.
const HARMLESS: [&str; 3] = ["description", "paused", "tags"];

/// The answer to a request that created an object.
const CREATED: u64 = 201;

/// The kinds that have pods of their own.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Kind {
    Agent,
    Tool,
}

impl Kind {
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "Agent" => Some(Self::Agent),
            "Tool" => Some(Self::Tool),
            _ => None,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Agent => "Agent",
            Self::Tool => "Tool",
        }
    }

    pub(super) fn resource(self) -> &'static str {
        match self {
            Self::Agent => "agents",
            Self::Tool => "tools",
        }
    }

    /// The label of a pod that names one.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Agent => "agentkube.io/agent",
            Self::Tool => "agentkube.io/tool",
        }
    }

    /// The annotation of a pod that says which state of it was built.
    pub(super) fn generation_annotation(self) -> &'static str {
        match self {
            Self::Agent => "agentkube.io/agent-generation",
            Self::Tool => "agentkube.io/tool-generation",
        }
    }

    /// The placeholder for its image.
    pub(super) fn placeholder(self) -> &'static str {
        match self {
            Self::Agent => "agentkube.invalid/agent",
            Self::Tool => "agentkube.invalid/tool",
        }
    }
}

/// An Agent or a Tool, from its creation on.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) states: Vec<State>,
}

/// An Agent or a Tool as it was stored.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// The order of everything that is stored.
    pub(super) revision: u64,
    pub(super) object: Value,
    /// Who last changed any of what steers.
    pub(super) writer: String,
    /// Others who may have been it: their requests overlapped, and the log does not tell which of them stored the state
    /// and which only found it.
    pub(super) rivals: Vec<String>,
    /// The event that stored it.
    pub(super) event: usize,
}

impl State {
    pub(super) fn spec(&self) -> &Value {
        self.object
            .get("spec")
            .unwrap_or(&Value::Null)
    }

    pub(super) fn generation(&self) -> i64 {
        self.object
            .pointer("/metadata/generation")
            .and_then(Value::as_i64)
            .unwrap_or_default()
    }

    pub(super) fn is_deleting(&self) -> bool {
        self.object
            .pointer("/metadata/deletionTimestamp")
            .is_some()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.spec().get("paused") == Some(&Value::Bool(true))
    }
}

/// A pod, from its creation on.
#[derive(Clone, Debug)]
pub(super) struct PodHistory {
    pub(super) name: String,
    pub(super) states: Vec<PodState>,
}

/// A pod as it was stored.
#[derive(Clone, Debug)]
pub(super) struct PodState {
    pub(super) revision: u64,
    pub(super) pod: Value,
    pub(super) event: usize,
}

/// Everything that happened in a namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// In the order of their answers.
    pub(super) events: Vec<Event>,
    /// By UID.
    pub(super) owners: BTreeMap<String, Owner>,
    /// By UID.
    pub(super) pods: BTreeMap<String, PodHistory>,
}

impl History {
    pub(super) fn new(mut events: Vec<Event>) -> Self {
        events.sort_by_key(|event| event.at);
        let mut history = Self::default();
        for (index, event) in events.iter().enumerate() {
            if event.succeeded() {
                history.note(index, event);
            }
        }
        for owner in history.owners.values_mut() {
            attribute(&mut owner.states, &events);
        }
        for pod in history.pods.values_mut() {
            pod.states
                .sort_by_key(|state| state.revision);
            pod.states
                .dedup_by_key(|state| state.revision);
        }
        history.events = events;
        history
    }

    fn note(&mut self, index: usize, event: &Event) {
        let object = &event.response;
        let text = |pointer: &str| object.pointer(pointer)?.as_str();
        let (Some(uid), Some(revision), Some(kind)) = (
            text("/metadata/uid"),
            text("/metadata/resourceVersion").and_then(|revision| revision.parse().ok()),
            text("/kind"),
        ) else {
            return;
        };
        let name = event.name.clone();
        if let Some(kind) = Kind::parse(kind) {
            let owner = self
                .owners
                .entry(uid.to_owned())
                .or_insert(Owner {
                    kind,
                    name,
                    states: Vec::new(),
                });
            owner.states.push(State {
                revision,
                object: object.clone(),
                writer: event.user.clone(),
                rivals: Vec::new(),
                event: index,
            });
        } else if kind == "Pod" && event.verb != "delete" {
            let pod = self
                .pods
                .entry(uid.to_owned())
                .or_insert(PodHistory {
                    name,
                    states: Vec::new(),
                });
            pod.states.push(PodState {
                revision,
                pod: object.clone(),
                event: index,
            });
        }
    }
}

/// Puts states in order, and says of each who last changed what steers.
fn attribute(states: &mut Vec<State>, events: &[Event]) {
    states.sort_by_key(|state| (state.revision, state.event));
    let mut told: Vec<State> = Vec::new();
    for group in states.chunk_by(|one, other| one.revision == other.revision) {
        told.extend(stored(group, events));
    }
    let mut last: Option<State> = None;
    for state in &mut told {
        if let Some(last) = &last
            && steering(last.spec()) == steering(state.spec())
        {
            state.writer.clone_from(&last.writer);
            state.rivals.clone_from(&last.rivals);
        }
        last = Some(state.clone());
    }
    *states = told;
}

/// Of the requests that were answered with one state, the one that stored it. The others changed nothing.
fn stored(group: &[State], events: &[Event]) -> Option<State> {
    let event = |state: &State| events.get(state.event);
    let created = group
        .iter()
        .find(|state| event(state).is_some_and(|event| event.code == CREATED));
    if let Some(created) = created {
        return Some(created.clone());
    }
    let mut first = group.first()?.clone();
    let answered = event(&first)?.at;
    // Who came later than that can only have found it.
    first.rivals = group
        .iter()
        .skip(1)
        .filter(|state| event(state).is_some_and(|event| event.received <= answered))
        .map(|state| state.writer.clone())
        .collect();
    Some(first)
}

/// What of a spec steers what runs.
pub(super) fn steering(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(members) = spec.as_object_mut() {
        members.retain(|name, _| !HARMLESS.contains(&name.as_str()));
    }
    spec
}
