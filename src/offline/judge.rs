use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{
    input::document::Document,
    metadata,
    output::verdict::Verdict,
    packed::PackedObject,
    parallel::parallel,
    pods::{self, Admitted},
    resource::{self, JudgedOwner, OwnFacts, Runs},
    reviewer::Reviewer,
};
use crate::{
    admission::{AgentFacts, Owners, ToolFacts, Wants},
    api::{GROUP, REWRITE_DEFAULTS_LABEL},
};

/// A document that was judged as far as possible. For most only the verdict is kept.
#[derive(Debug)]
pub struct PartialVerdict(State);

#[derive(Debug)]
enum State {
    /// A kind that admission does not handle.
    Ignored,
    JudgedOwner(Box<JudgedOwner>),
    /// A namespace that opts in to the rewriting of default images.
    Rewriting(String),
    /// A pod, or a workload that makes pods. It depends on the other documents.
    Waiting(Box<Waiting>),
}

#[derive(Debug)]
struct Waiting {
    verdict: Verdict,
    pod: PackedObject,
}

impl Reviewer<'_> {
    /// Judges a document as far as it can be judged alone.
    #[must_use]
    pub fn see(&self, document: Document) -> PartialVerdict {
        let object = &document.object;
        let text = |member| {
            object
                .get(member)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let group = text("apiVersion")
            .split_once('/')
            .map(|(group, _)| group);
        // Only the manager writes Rejections.
        PartialVerdict(if group == Some(GROUP) && text("kind") != "Rejection" {
            State::JudgedOwner(Box::new(resource::judge(document, self)))
        } else if text("kind") == "Namespace" {
            match object
                .pointer("/metadata/labels")
                .and_then(|labels| labels.get(REWRITE_DEFAULTS_LABEL))
            {
                Some(label) if label == "enabled" => {
                    State::Rewriting(metadata::name(object).to_owned())
                }
                _ => State::Ignored,
            }
        } else {
            let verdict = Verdict::on(&document);
            match pods::of(document.object, &verdict.namespace) {
                Some(pod) => State::Waiting(Box::new(Waiting {
                    verdict,
                    pod: PackedObject::new(&pod),
                })),
                None => State::Ignored,
            }
        })
    }

    /// The verdicts, in the order of the documents. Kinds that admission does not handle are left
    /// out.
    #[must_use]
    pub fn verdicts(&self, mut documents: Vec<PartialVerdict>) -> Vec<Verdict> {
        let mut known = AdmittedDocuments::default();
        for document in &mut documents {
            known.learn(document);
        }
        parallel(documents, |PartialVerdict(state)| match state {
            State::Ignored | State::Rewriting(_) => None,
            State::JudgedOwner(judged) => Some(known.settle(*judged)),
            State::Waiting(waiting) => Some(self.workload(*waiting, &known)),
        })
        .into_iter()
        .flatten()
        .collect()
    }

    /// Judges a pod, or the pods of a workload.
    fn workload(&self, waiting: Waiting, known: &AdmittedDocuments) -> Verdict {
        let Waiting { mut verdict, pod } = waiting;
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
            pod.object(),
            &verdict.namespace,
            rewrites_defaults,
            self.policy,
            |wants| known.owners(&verdict.namespace, wants),
        );
        verdict.decided = decided;
        verdict.warnings = warnings;
        verdict.images = images;
        verdict.alternatives = alternatives;
        verdict.patch = patch.into_operations();
        verdict.pod = self.keep(pod);
        verdict
    }
}

/// The admitted documents, by namespace and name.
#[derive(Default)]
struct AdmittedDocuments {
    agents: HashMap<String, HashMap<String, AgentFacts>>,
    tools: HashMap<String, HashMap<String, ToolFacts>>,
    /// The Tools that an armed Agent lists. Only these get a pod.
    wanted_tools: HashSet<(String, String)>,
    /// The namespaces in which written-out default images follow the settings.
    rewriting: HashSet<String>,
}

impl AdmittedDocuments {
    /// Remembers the parts of a document that others depend on.
    fn learn(&mut self, document: &mut PartialVerdict) {
        let judged = match &mut document.0 {
            State::JudgedOwner(judged) => judged,
            State::Rewriting(namespace) => {
                self.rewriting
                    .insert(std::mem::take(namespace));
                return;
            }
            State::Ignored | State::Waiting(_) => return,
        };
        let Verdict {
            namespace, name, ..
        } = &judged.verdict;
        match judged.facts.take() {
            Some(OwnFacts::Agent { facts, tools }) => {
                let wanted = tools
                    .into_iter()
                    .map(|tool| (namespace.clone(), tool));
                self.wanted_tools.extend(wanted);
                self.agents
                    .entry(namespace.clone())
                    .or_default()
                    .insert(name.clone(), facts);
            }
            Some(OwnFacts::Tool(facts)) => {
                self.tools
                    .entry(namespace.clone())
                    .or_default()
                    .insert(name.clone(), facts);
            }
            None => {}
        }
    }

    /// Drops the pod if it would not run: that of a paused Agent, or of a Tool that nobody lists.
    fn settle(&self, judged: JudgedOwner) -> Verdict {
        let JudgedOwner {
            mut verdict,
            runs,
            facts: _,
        } = judged;
        let runs = match runs {
            Runs::Always => true,
            Runs::Listed => self
                .wanted_tools
                .contains(&(verdict.namespace.clone(), verdict.name.clone())),
            Runs::Never => false,
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
