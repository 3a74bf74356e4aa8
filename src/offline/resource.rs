use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use serde::Deserialize;
use serde_json::Value;

use super::{
    input::document::Document,
    metadata,
    output::{
        cause::ReviewCause,
        verdict::{Decided, Verdict},
    },
    pods,
    reviewer::Reviewer,
    schema::Schema,
};
use crate::{
    admission::{
        AgentFacts, AuthorRights, Creation, Outcome, Owners, Policy, Review, ToolFacts, Webhook,
        decide,
    },
    api::{Agent, GROUP, Tool, ToolType, VERSION},
    workload::{agent_pod, tool_pod},
};

/// A stand-in for the UID that the API server would generate.
const UID: &str = "00000000-0000-4000-8000-000000000000";

/// An Agent or a Tool that was judged.
#[derive(Debug)]
pub(super) struct JudgedOwner {
    pub(super) verdict: Verdict,
    pub(super) runs: Runs,
    pub(super) facts: Option<OwnFacts>,
}

/// The condition for the pod of an Agent or a Tool to run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Runs {
    Always,
    /// It runs if an armed Agent lists the Tool.
    Listed,
    /// It never runs: the Agent is paused, or the object is refused.
    Never,
}

#[derive(Debug)]
pub(super) enum OwnFacts {
    Agent {
        facts: AgentFacts,
        /// The Tools that the Agent lists, if it is armed.
        tools: Vec<String>,
    },
    Tool(ToolFacts),
}

/// Judges an object of our API group.
pub(super) fn judge(document: Document, reviewer: &Reviewer<'_>) -> JudgedOwner {
    let verdict = Verdict::on(&document);
    let mut object = document.object;
    let mut judged = JudgedOwner {
        verdict,
        runs: Runs::Never,
        facts: None,
    };
    let verdict = &mut judged.verdict;
    let api_version = object
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let version = api_version
        .split_once('/')
        .map(|(_, version)| version);
    let Some(schema) = Schema::of(&verdict.kind).filter(|_| version == Some(VERSION)) else {
        let message = format!(
            "no matches for kind {:?} in version {api_version:?}",
            verdict.kind
        );
        verdict.decided = Decided::deny(404, "NotFound", message, Vec::new());
        return judged;
    };
    if let Err(decided) = create(&mut object, schema, verdict, reviewer.policy) {
        verdict.decided = decided;
        return judged;
    }
    if verdict.kind == "Agent" {
        if let Some(agent) = typed(&object, verdict) {
            of_agent(agent, &mut judged, reviewer);
        }
    } else if let Some(tool) = typed(&object, verdict) {
        of_tool(tool, &mut judged, reviewer);
    }
    judged
}

/// Creates an Agent or a Tool in the same steps as the API server.
fn create(
    object: &mut Value,
    schema: &Schema,
    verdict: &mut Verdict,
    policy: &Policy,
) -> Result<(), Decided> {
    let kind = verdict.kind.clone();
    if let Some((field, why)) = metadata::undecodable(object) {
        let cause = ReviewCause {
            field,
            reason: "FieldValueTypeInvalid",
            message: why.clone(),
        };
        return Err(Decided::undecodable(&kind, VERSION, &why, vec![cause]));
    }
    let unknown = schema.unknown_fields(object);
    if !unknown.is_empty() {
        let said = |field: &String| format!("unknown field {field:?}");
        let why = unknown
            .iter()
            .map(said)
            .collect::<Vec<_>>()
            .join(", ");
        let causes = unknown
            .iter()
            .map(|field| ReviewCause {
                field: field.clone(),
                reason: "UnknownField",
                message: said(field),
            })
            .collect();
        let why = format!("strict decoding error: {why}");
        return Err(Decided::undecodable(&kind, VERSION, &why, causes));
    }
    metadata::prepare(object, &verdict.namespace);
    schema.fill(object);
    webhook(Webhook::Mutate, object, verdict, policy)?;
    // The status has its own subresource.
    if let Some(members) = object.as_object_mut() {
        members.remove("status");
    }
    let causes = schema.judge(object);
    if !causes.is_empty() {
        return Err(Decided::invalid(&kind, &verdict.name, causes));
    }
    webhook(Webhook::Validate, object, verdict, policy)
}

/// Judges an Agent or a Tool by the webhook's own rules.
fn webhook(
    webhook: Webhook,
    object: &Value,
    verdict: &mut Verdict,
    policy: &Policy,
) -> Result<(), Decided> {
    if !pods::is_served(&verdict.namespace) {
        return Ok(());
    }
    let resource = match verdict.kind.as_str() {
        "Agent" => "agents",
        _ => "tools",
    };
    let review = Review::of(Creation {
        group: GROUP,
        kind: &verdict.kind,
        resource,
        namespace: &verdict.namespace,
        name: metadata::name(object),
        object,
    })
    .map_err(|denial| Decided::from(&denial))?;
    let decision = decide(
        webhook,
        &review,
        Owners::default(),
        AuthorRights::Unasked,
        policy,
    );
    for warning in decision.warnings {
        if !verdict.warnings.contains(&warning) {
            verdict.warnings.push(warning);
        }
    }
    match decision.outcome {
        // Only pods are built from the state of another object.
        Outcome::Allow { .. } | Outcome::Conflict(_) => Ok(()),
        Outcome::Deny(denial) => Err((&denial).into()),
    }
}

/// An object that its schema accepts, as the type that the reconciler uses.
fn typed<'o, T: Deserialize<'o>>(object: &'o Value, verdict: &mut Verdict) -> Option<T> {
    T::deserialize(object)
        .map_err(|_| {
            verdict.warnings.push(
                "the manager cannot read this object, although its schema accepts it (hint: report this)"
                    .to_owned(),
            );
        })
        .ok()
}

fn of_agent(mut agent: Agent, judged: &mut JudgedOwner, reviewer: &Reviewer<'_>) {
    store(&mut agent);
    let agent = &agent;
    let facts = AgentFacts::from(agent);
    let owners = Owners {
        agent: Some(&facts),
        tool: None,
    };
    take_pod(&agent_pod(agent), owners, &mut judged.verdict, reviewer);
    let mut tools = Vec::new();
    if !agent.spec.paused {
        judged.runs = Runs::Always;
        tools.extend(
            agent
                .spec
                .tools
                .iter()
                .map(|tool| tool.name.clone()),
        );
    }
    judged.facts = Some(OwnFacts::Agent { facts, tools });
}

fn of_tool(mut tool: Tool, judged: &mut JudgedOwner, reviewer: &Reviewer<'_>) {
    store(&mut tool);
    let tool = &tool;
    let facts = ToolFacts::from(tool);
    if tool.spec.type_ == ToolType::Custom {
        let owners = Owners {
            agent: None,
            tool: Some(&facts),
        };
        take_pod(&tool_pod(tool), owners, &mut judged.verdict, reviewer);
    }
    judged.runs = Runs::Listed;
    judged.facts = Some(OwnFacts::Tool(facts));
}

/// Sets the fields of a stored object that its pod depends on.
fn store<K: Resource>(object: &mut K) {
    let metadata = object.meta_mut();
    metadata.uid = Some(UID.to_owned());
    metadata.generation = Some(1);
}

/// Shows the pod that an Agent or a Tool would get. Its patch changes the pod, not the object.
fn take_pod(pod: &Pod, owners: Owners<'_>, verdict: &mut Verdict, reviewer: &Reviewer<'_>) {
    // Types of Kubernetes always serialize.
    let pod = serde_json::to_value(pod).unwrap_or_default();
    // A namespace's opt-in to rewriting does not affect the pods of Agents and Tools.
    let mut admitted = pods::admit(pod, &verdict.namespace, false, reviewer.policy, |_| owners);
    // The UID of the owner is not known yet.
    if let Some(metadata) = admitted
        .pod
        .as_mut()
        .and_then(|pod| pod.get_mut("metadata")?.as_object_mut())
    {
        metadata.remove("ownerReferences");
    }
    if let Some(message) = &admitted.decided.message {
        verdict
            .warnings
            .push(format!("its pod would be refused: {message}"));
    }
    verdict.images = admitted.images;
    verdict.alternatives = admitted.alternatives;
    verdict.pod = reviewer.keep(admitted.pod);
}
