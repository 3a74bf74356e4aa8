use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::Value;

use super::{
    cause::Cause,
    documents::Document,
    metadata,
    parallel::parallel,
    pods::{self, Admitted},
    schema::Schema,
    verdict::{Decided, Decision, Verdict},
};
use crate::{
    admission::{
        AgentFacts, Outcome, Owners, Policy, Review, ToolFacts, Unreadable, Wants, Webhook,
        create_body, decide,
    },
    api::{Agent, GROUP, REWRITE_DEFAULTS_LABEL, Tool, ToolType},
    reconciler::{agent_pod, tool_pod},
};

/// The version of Agents and Tools that is served.
const VERSION: &str = "v1alpha1";

/// Where objects go that name no namespace.
const DEFAULT_NAMESPACE: &str = "default";

/// Reviews documents as if they were created one after the other, Agents and Tools first. Kinds
/// that admission has no say in pass by.
///
/// A pod's Agent and Tool are those of the documents that are admitted.
#[must_use]
pub fn review(documents: &[Document], policy: &Policy) -> Vec<Verdict> {
    let resources = parallel(documents, |document| resource(document, policy));
    let mut known = Known {
        rewriting: documents
            .iter()
            .filter_map(rewriting)
            .collect(),
        ..Known::default()
    };
    for resource in resources.iter().flatten() {
        known.learn(resource);
    }
    let workloads = parallel(documents, |document| workload(document, policy, &known));
    resources
        .into_iter()
        .zip(workloads)
        .filter_map(|(resource, workload)| {
            resource
                .map(|judged| known.settle(judged))
                .or(workload)
        })
        .collect()
}

/// The name of a namespace that asks for default images to be rewritten.
fn rewriting(document: &Document) -> Option<String> {
    let object = &document.object;
    let label = object
        .get("metadata")?
        .get("labels")?
        .get(REWRITE_DEFAULTS_LABEL)?;
    let asks = object.get("kind")?.as_str()? == "Namespace" && label.as_str()? == "enabled";
    asks.then(|| metadata::name(object).to_owned())
}

/// An Agent or a Tool that was judged.
struct Judged {
    verdict: Verdict,
    facts: Option<Facts>,
}

enum Facts {
    Agent {
        facts: AgentFacts,
        /// Whether it gets a pod at all.
        is_armed: bool,
        tools: Vec<String>,
    },
    Tool(ToolFacts),
}

/// What of the documents is admitted, by namespace and name.
#[derive(Default)]
struct Known {
    agents: HashMap<String, HashMap<String, AgentFacts>>,
    tools: HashMap<String, HashMap<String, ToolFacts>>,
    /// Tools that an armed Agent lists: only those get a pod.
    wanted_tools: HashSet<(String, String)>,
    /// Namespaces in which default images that somebody wrote out follow the levers.
    rewriting: HashSet<String>,
}

impl Known {
    fn learn(&mut self, judged: &Judged) {
        let Verdict {
            namespace, name, ..
        } = &judged.verdict;
        let name = name.clone();
        match &judged.facts {
            Some(Facts::Agent {
                facts,
                is_armed,
                tools,
            }) => {
                if *is_armed {
                    let wanted = tools
                        .iter()
                        .map(|tool| (namespace.clone(), tool.clone()));
                    self.wanted_tools.extend(wanted);
                }
                self.agents
                    .entry(namespace.clone())
                    .or_default()
                    .insert(name, facts.clone());
            }
            Some(Facts::Tool(facts)) => {
                self.tools
                    .entry(namespace.clone())
                    .or_default()
                    .insert(name, facts.clone());
            }
            None => {}
        }
    }

    /// Takes the pod away that would not run: of a paused Agent, or of a Tool that nobody lists.
    fn settle(&self, judged: Judged) -> Verdict {
        let Judged { mut verdict, facts } = judged;
        let runs = match facts {
            Some(Facts::Agent { is_armed, .. }) => is_armed,
            Some(Facts::Tool(_)) => self
                .wanted_tools
                .contains(&(verdict.namespace.clone(), verdict.name.clone())),
            None => false,
        };
        if !runs {
            verdict.pod = None;
        }
        verdict
    }

    fn owners(&self, namespace: &str, wants: Wants<'_>) -> Owners<'_> {
        Owners {
            agent: wants.agent.and_then(|wanted| {
                self.agents
                    .get(namespace)?
                    .get(wanted.name)
            }),
            tool: wants.tool.and_then(|wanted| {
                self.tools
                    .get(namespace)?
                    .get(wanted.name)
            }),
        }
    }
}

/// Judges an Agent or a Tool; `None` where the document is neither.
fn resource(document: &Document, policy: &Policy) -> Option<Judged> {
    let text = |member| {
        document
            .object
            .get(member)
            .and_then(Value::as_str)
    };
    let api_version = text("apiVersion")?;
    let kind = text("kind")?;
    let (group, version) = api_version.split_once('/')?;
    // Nobody writes Rejections but the manager.
    if group != GROUP || kind == "Rejection" {
        return None;
    }
    let mut verdict = verdict(document);
    let Some(schema) = Schema::of(kind).filter(|_| version == VERSION) else {
        let message = format!("no matches for kind {kind:?} in version {api_version:?}");
        verdict.decided = Decided::deny(404, "NotFound", message, Vec::new());
        return Some(Judged {
            verdict,
            facts: None,
        });
    };
    let mut object = document.object.clone();
    let outcome = create(&mut object, schema, &mut verdict, policy);
    let facts = match outcome {
        Ok(()) if kind == "Agent" => {
            typed(&object, &mut verdict).map(|agent| of_agent(&agent, &mut verdict, policy))
        }
        Ok(()) => typed(&object, &mut verdict).map(|tool| of_tool(&tool, &mut verdict, policy)),
        Err(decided) => {
            verdict.decided = decided;
            None
        }
    };
    Some(Judged { verdict, facts })
}

/// Takes an Agent or a Tool the way that the API server takes it.
fn create(
    object: &mut Value,
    schema: &Schema,
    verdict: &mut Verdict,
    policy: &Policy,
) -> Result<(), Decided> {
    let kind = verdict.kind.clone();
    if let Some((field, why)) = metadata::undecodable(object) {
        let cause = Cause {
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
            .map(|field| Cause {
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
    // The status has a door of its own.
    if let Some(members) = object.as_object_mut() {
        members.remove("status");
    }
    let causes = schema.judge(object);
    if !causes.is_empty() {
        return Err(Decided::invalid(&kind, &verdict.name, causes));
    }
    webhook(Webhook::Validate, object, verdict, policy)
}

/// Asks the server's own rules about an Agent or a Tool.
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
    let body = create_body(
        object,
        (&verdict.namespace, metadata::name(object)),
        (GROUP, &verdict.kind, resource),
    );
    let review = Review::parse(&body).map_err(|unreadable| match unreadable {
        Unreadable::Body(message) => Decided::deny(500, "InternalError", message, Vec::new()),
        Unreadable::Request(request) => (&request.denial).into(),
    })?;
    let decision = decide(webhook, &review, Owners::default(), policy);
    for warning in decision.warnings {
        if !verdict.warnings.contains(&warning) {
            verdict.warnings.push(warning);
        }
    }
    match decision.outcome {
        Outcome::Allow { .. } => Ok(()),
        Outcome::Deny(denial) => Err((&denial).into()),
    }
}

/// An object that its schema accepts, as the types that the reconciler works with.
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

fn of_agent(agent: &Agent, verdict: &mut Verdict, policy: &Policy) -> Facts {
    let facts = AgentFacts::from(agent);
    let owners = Owners {
        agent: Some(&facts),
        tool: None,
    };
    take_pod(&agent_pod(agent), owners, verdict, policy);
    Facts::Agent {
        is_armed: !agent.spec.paused,
        tools: agent
            .spec
            .tools
            .iter()
            .map(|tool| tool.name.clone())
            .collect(),
        facts,
    }
}

fn of_tool(tool: &Tool, verdict: &mut Verdict, policy: &Policy) -> Facts {
    let facts = ToolFacts::from(tool);
    if tool.spec.type_ == ToolType::Custom {
        let owners = Owners {
            agent: None,
            tool: Some(&facts),
        };
        take_pod(&tool_pod(tool), owners, verdict, policy);
    }
    Facts::Tool(facts)
}

/// Shows the pod that an Agent or a Tool would get: its patch is the pod's and not the object's.
fn take_pod(
    pod: &k8s_openapi::api::core::v1::Pod,
    owners: Owners<'_>,
    verdict: &mut Verdict,
    policy: &Policy,
) {
    // Types of Kubernetes always serialize.
    let pod = serde_json::to_value(pod).unwrap_or_default();
    // The pod of an Agent or Tool is not concerned by what its namespace asks for.
    let admitted = pods::admit(pod, &verdict.namespace, false, policy, |_| owners);
    if let Some(message) = &admitted.decided.message {
        verdict
            .warnings
            .push(format!("its pod would be refused: {message}"));
    }
    verdict.images = admitted.images;
    verdict.alternatives = admitted.alternatives;
    verdict.pod = admitted.pod;
}

/// Judges a pod, or the pods of a workload; `None` where the document is neither.
fn workload(document: &Document, policy: &Policy, known: &Known) -> Option<Verdict> {
    let object = &document.object;
    let text = |member| {
        object
            .get(member)
            .and_then(Value::as_str)
    };
    let mut verdict = verdict(document);
    let pod = match (text("apiVersion")?, text("kind")?) {
        ("v1", "Pod") => object.clone(),
        _ => pods::of_workload(object, &verdict.namespace)?,
    };
    let rewrites_defaults = known
        .rewriting
        .contains(&verdict.namespace);
    let Admitted {
        decided,
        warnings,
        images,
        alternatives,
        patch,
        pod,
    } = pods::admit(
        pod,
        &verdict.namespace,
        rewrites_defaults,
        policy,
        |wants| known.owners(&verdict.namespace, wants),
    );
    verdict.decided = decided;
    verdict.warnings = warnings;
    verdict.images = images;
    verdict.alternatives = alternatives;
    verdict.patch = patch.operations().clone();
    verdict.pod = pod;
    Some(verdict)
}

fn verdict(document: &Document) -> Verdict {
    let object = &document.object;
    Verdict {
        file: document.file.to_string(),
        line: document.line,
        kind: object
            .get("kind")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        namespace: metadata::namespace(object)
            .unwrap_or(DEFAULT_NAMESPACE)
            .to_owned(),
        name: metadata::name(object).to_owned(),
        decided: Decided {
            decision: Decision::Allow,
            ..Decided::default()
        },
        warnings: Vec::new(),
        images: Vec::new(),
        patch: json_patch::Patch::default(),
        alternatives: Vec::new(),
        pod: None,
    }
}
