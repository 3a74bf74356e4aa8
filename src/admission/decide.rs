use super::{
    Authority, Cause, Denial, Enforcement, Owners, Patch, Policy, Review, agents,
    fields::Findings,
    names,
    pods::{self, Place},
    review::Target,
    tools,
};
use crate::api::{AGENT_GENERATION_ANNOTATION, ImageDecision, TOOL_GENERATION_ANNOTATION};

/// The calls that an API server makes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Webhook {
    /// Before defaulting is final and the schema is validated; may patch.
    Mutate,
    /// Beside [`Webhook::Mutate`], for the pods of namespaces that ask for it: default images that
    /// somebody wrote out follow the levers.
    RewriteDefaults,
    /// After every mutation; only judges.
    Validate,
}

impl Webhook {
    /// The word in paths, labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mutate => "mutate",
            Self::RewriteDefaults => "rewrite-defaults",
            Self::Validate => "validate",
        }
    }
}

/// The answer to a review.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Whether the request goes on.
    pub outcome: Outcome,
    /// What the author should know, whether it goes on or not.
    pub warnings: Vec<String>,
    /// What breaks a policy and was let through, because only warnings were asked for.
    pub tolerated: Vec<Cause>,
}

impl Decision {
    /// Refuses, and says nothing more.
    #[must_use]
    pub fn deny(denial: Denial) -> Self {
        Self {
            outcome: Outcome::Deny(denial),
            warnings: Vec::new(),
            tolerated: Vec::new(),
        }
    }

    /// What was decided in a word (`allow`, `warn` or `deny`), and the problems that it rests on.
    #[must_use]
    pub fn findings(&self) -> (&'static str, &[Cause]) {
        match &self.outcome {
            Outcome::Deny(denial) => ("deny", &denial.causes),
            Outcome::Allow { .. } if self.tolerated.is_empty() => ("allow", &[]),
            Outcome::Allow { .. } => ("warn", &self.tolerated),
        }
    }
}

/// Whether a request goes on.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It does.
    Allow {
        /// What is changed on the way; empty in [`Webhook::Validate`].
        patch: Patch,
        /// The image of each container that the patch sets, and why.
        images: Vec<ImageDecision>,
    },
    /// It does not.
    Deny(Denial),
}

/// The objects that a decision depends on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Wants<'r> {
    /// The Agent that the pod is labelled with.
    pub agent: Option<Wanted<'r>>,
    /// The Tool that the pod is labelled with.
    pub tool: Option<Wanted<'r>>,
}

/// An object of the request's namespace that a decision depends on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wanted<'r> {
    /// Its name, a legal one.
    pub name: &'r str,
    /// The oldest `metadata.generation` that will do.
    pub generation: i64,
}

impl Review<'_> {
    /// Says which objects [`decide`] needs to know of.
    ///
    /// A label is not validated yet when admission runs: a name that no object can have is not
    /// asked for, because it would end up in the path of a request.
    #[must_use]
    pub fn wants(&self, webhook: Webhook) -> Wants<'_> {
        let Target::Pod(pod, _) = &self.target else {
            return Wants::default();
        };
        if webhook == Webhook::RewriteDefaults {
            return Wants::default();
        }
        let wanted = |name, annotation| {
            Some(Wanted {
                name,
                generation: pod
                    .generation(annotation)
                    .unwrap_or_default(),
            })
            .filter(|wanted| names::is_subdomain(wanted.name))
        };
        Wants {
            agent: pod
                .agent()
                .and_then(|name| wanted(name, AGENT_GENERATION_ANNOTATION)),
            tool: pod
                .tool()
                .and_then(|name| wanted(name, TOOL_GENERATION_ANNOTATION)),
        }
    }
}

/// Decides a review.
///
/// Agents and Tools are judged by the same rules in both webhooks: in the first because the
/// schema, which speaks between the two, would refuse a spec before it could be recorded; in the
/// second because another webhook may have changed it.
#[must_use]
pub fn decide(
    webhook: Webhook,
    review: &Review<'_>,
    owners: Owners<'_>,
    authority: Authority<'_>,
    policy: &Policy,
) -> Decision {
    let places = match &review.target {
        Target::Pod(pod, scope) if webhook != Webhook::RewriteDefaults => {
            pods::places(pod, *scope, owners, policy)
        }
        _ => Vec::new(),
    };
    let mut findings = judge(webhook, review, &places, owners, policy);
    if policy.authorize_references {
        review.judge_references(authority, &mut findings);
    }
    let Findings {
        mut causes,
        mut warnings,
    } = findings;
    let mut tolerated = Vec::new();
    if policy.enforcement == Enforcement::Warn {
        tolerated = causes
            .extract_if(.., |cause| cause.reason.is_policy())
            .collect();
        warnings.extend(
            tolerated
                .iter()
                .map(ToString::to_string),
        );
    }
    let outcome = if causes.is_empty() {
        let pods::Mutation { patch, images } = mutate(webhook, review, &places, owners, policy);
        Outcome::Allow { patch, images }
    } else {
        Outcome::Deny(Denial {
            subject: review.subject(),
            causes,
        })
    };
    Decision {
        outcome,
        warnings,
        tolerated,
    }
}

fn judge(
    webhook: Webhook,
    review: &Review<'_>,
    places: &[Place<'_>],
    owners: Owners<'_>,
    policy: &Policy,
) -> Findings {
    match &review.target {
        Target::Agent(agent) => agents::judge(agent, policy),
        Target::Pod(pod, _) if webhook != Webhook::RewriteDefaults => Findings {
            causes: pods::judge(webhook, pod, places, owners, policy),
            warnings: Vec::new(),
        },
        Target::Nothing | Target::Pod(..) | Target::SettledPod => Findings::default(),
        Target::Tool(tool) => tools::judge(tool, policy),
    }
}

/// Changes an object that has nothing wrong.
fn mutate(
    webhook: Webhook,
    review: &Review<'_>,
    places: &[Place<'_>],
    owners: Owners<'_>,
    policy: &Policy,
) -> pods::Mutation {
    match (&review.target, webhook) {
        (Target::Pod(pod, scope), Webhook::Mutate) => {
            pods::mutate(pod, *scope, places, owners, policy)
        }
        (Target::Pod(pod, scope), Webhook::RewriteDefaults) => {
            pods::rewrite_defaults(pod, *scope, policy)
        }
        _ => pods::Mutation::default(),
    }
}
