use super::{
    AuthorRights, Cause, Denial, Enforcement, ObjectState, Owners, Patch, Policy, Review, Subject,
    Webhook, credential, names,
    pods::{self, ImageSlot, OwnerKind, PodOwner},
    specs::{agents, fields::Findings, tools},
    target::Target,
};
use crate::api::{AGENT_LABEL, ImageDecision, TOOL_LABEL};

/// The answer to a review.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The outcome for the request.
    pub outcome: Outcome,
    /// Warnings for the author, whatever the outcome.
    pub warnings: Vec<String>,
    /// Breaches of policy that were admitted because the policy only warns.
    pub tolerated: Vec<Cause>,
}

impl Decision {
    /// Asks for the pod to be built again, without warnings.
    fn conflict(conflict: Conflict) -> Self {
        Self {
            outcome: Outcome::Conflict(conflict),
            warnings: Vec::new(),
            tolerated: Vec::new(),
        }
    }

    /// Refuses, without warnings.
    #[must_use]
    pub fn deny(denial: Denial) -> Self {
        Self {
            outcome: Outcome::Deny(denial),
            warnings: Vec::new(),
            tolerated: Vec::new(),
        }
    }

    /// The kind of the decision.
    #[must_use]
    pub fn kind(&self) -> DecisionKind {
        match &self.outcome {
            Outcome::Conflict(_) => DecisionKind::Conflict,
            Outcome::Deny(_) => DecisionKind::Deny,
            Outcome::Allow { .. } if self.tolerated.is_empty() => DecisionKind::Allow,
            Outcome::Allow { .. } => DecisionKind::Warn,
        }
    }

    /// The problems that led to it. Empty if the request is allowed or a conflict.
    #[must_use]
    pub fn causes(&self) -> &[Cause] {
        match &self.outcome {
            Outcome::Conflict(_) => &[],
            Outcome::Deny(denial) => &denial.causes,
            Outcome::Allow { .. } => &self.tolerated,
        }
    }
}

/// The kinds of decisions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DecisionKind {
    /// The request is admitted.
    Allow,
    /// The pod has to be built again.
    Conflict,
    /// The request is refused.
    Deny,
    /// The request is admitted although it breaks a policy.
    Warn,
}

impl DecisionKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Allow, Self::Conflict, Self::Deny, Self::Warn];

    /// The value of metric labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Conflict => "conflict",
            Self::Deny => "deny",
            Self::Warn => "warn",
        }
    }
}

/// The outcome for a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The request is admitted.
    Allow {
        /// The changes to the object; empty in [`Webhook::Validate`].
        patch: Patch,
        /// The image of each container that the patch sets, and the rule that chose it.
        images: Vec<ImageDecision>,
    },
    /// The pod was built from an outdated state of its Agent or Tool. Building it again may
    /// succeed.
    Conflict(Conflict),
    /// The request is refused.
    Deny(Denial),
}

/// A pod that has to be built again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Conflict {
    /// The pod.
    pub subject: Subject,
    /// The change since it was built.
    pub change: String,
}

impl Conflict {
    /// The sentence for `status.message`.
    #[must_use]
    pub fn message(&self) -> String {
        format!(
            "{} is outdated: {} (hint: create it again from the current Agent or Tool)",
            self.subject, self.change
        )
    }
}

/// The objects that a decision depends on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Wants<'r> {
    /// The Agent that the pod belongs to.
    pub agent: Option<Wanted<'r>>,
    /// The Tool that the pod belongs to.
    pub tool: Option<Wanted<'r>>,
}

/// An object of the request's namespace that a decision depends on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wanted<'r> {
    /// The name, a legal one.
    pub name: &'r str,
    /// The only state that can fill the pod's placeholder; `None` if any state will do.
    pub state: Option<ObjectState<'r>>,
}

impl Review<'_> {
    /// The objects that [`decide`] needs.
    ///
    /// Labels are not validated yet when admission runs. A name that no object can have is left
    /// out, since it would end up in the path of a request.
    #[must_use]
    pub fn wants(&self, webhook: Webhook) -> Wants<'_> {
        let Target::Pod(pod, scope) = &self.target else {
            return Wants::default();
        };
        if webhook == Webhook::RewriteDefaults {
            return Wants::default();
        }
        let wanted = |kind| {
            let PodOwner { name, built_from } = pod.owner(kind)?;
            let fills = webhook == Webhook::Mutate && pods::asks_for(&pod.new, *scope, kind);
            Some(Wanted {
                name,
                state: built_from.filter(|_| fills),
            })
            .filter(|wanted| names::is_subdomain(wanted.name))
        };
        Wants {
            agent: wanted(OwnerKind::Agent),
            tool: wanted(OwnerKind::Tool),
        }
    }
}

/// Refuses a pod whose Agent or Tool this version cannot read, since its image is unknown. `field`
/// is the path of the unreadable field.
#[must_use]
pub fn refuse_unreadable_owner(
    review: &Review<'_>,
    kind: &str,
    name: &str,
    field: &str,
) -> Decision {
    let label = if kind == "Tool" {
        TOOL_LABEL
    } else {
        AGENT_LABEL
    };
    let name = credential::quote(name);
    let field = credential::hide_credentials(field);
    let cause = Cause::unreadable(
        format!("metadata.labels[{label}]"),
        &format!("this version of agentkube cannot read {field} of {kind} {name}"),
    )
    .hint(&format!(
        "correct that field of the {kind}, or run the release that wrote it"
    ));
    Decision::deny(Denial {
        subject: review.subject(),
        causes: vec![cause],
    })
}

/// Decides a review.
///
/// Agents and Tools are judged by the same rules in both webhooks. In the mutating one because the
/// schema is validated after it, and a spec that the schema refuses could not be recorded. In the
/// validating one because another webhook may have changed the object.
#[must_use]
pub fn decide(
    webhook: Webhook,
    review: &Review<'_>,
    owners: Owners<'_>,
    authority: AuthorRights<'_>,
    policy: &Policy,
) -> Decision {
    let places = match &review.target {
        Target::Pod(pod, scope) if webhook != Webhook::RewriteDefaults => {
            pods::places(pod, *scope, owners, policy)
        }
        _ => Vec::new(),
    };
    if webhook == Webhook::Mutate
        && let Some(change) = places
            .iter()
            .find_map(ImageSlot::outdated)
    {
        return Decision::conflict(Conflict {
            subject: review.subject(),
            change: change.to_owned(),
        });
    }
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
    // Only now: the schema's own message is better for what the schema refuses.
    if webhook == Webhook::Validate && causes.is_empty() {
        causes.extend(review.unreadable());
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
    places: &[ImageSlot<'_>],
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

/// Mutates an object that has no problems.
fn mutate(
    webhook: Webhook,
    review: &Review<'_>,
    places: &[ImageSlot<'_>],
    owners: Owners<'_>,
    policy: &Policy,
) -> pods::Mutation {
    match (&review.target, webhook) {
        (Target::Pod(pod, scope), Webhook::Mutate) => {
            pods::mutate(&pod.new, *scope, places, owners, policy)
        }
        (Target::Pod(pod, scope), Webhook::RewriteDefaults) => {
            pods::rewrite_defaults(pod, *scope, policy)
        }
        _ => pods::Mutation::default(),
    }
}
