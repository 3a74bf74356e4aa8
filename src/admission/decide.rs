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
    /// Whether the request goes on.
    pub outcome: Outcome,
    /// What the author should know, whether it goes on or not.
    pub warnings: Vec<String>,
    /// What breaks a policy and was let through, because only warnings were asked for.
    pub tolerated: Vec<Cause>,
}

impl Decision {
    /// Has the pod built anew, and says nothing more.
    fn conflict(conflict: Conflict) -> Self {
        Self {
            outcome: Outcome::Conflict(conflict),
            warnings: Vec::new(),
            tolerated: Vec::new(),
        }
    }

    /// Refuses, and says nothing more.
    #[must_use]
    pub fn deny(denial: Denial) -> Self {
        Self {
            outcome: Outcome::Deny(denial),
            warnings: Vec::new(),
            tolerated: Vec::new(),
        }
    }

    /// The decision without its details.
    #[must_use]
    pub fn kind(&self) -> DecisionKind {
        match &self.outcome {
            Outcome::Conflict(_) => DecisionKind::Conflict,
            Outcome::Deny(_) => DecisionKind::Deny,
            Outcome::Allow { .. } if self.tolerated.is_empty() => DecisionKind::Allow,
            Outcome::Allow { .. } => DecisionKind::Warn,
        }
    }

    /// The problems that it rests on: none where it is allowed or a conflict.
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
    /// The request goes on.
    Allow,
    /// The pod has to be built anew.
    Conflict,
    /// The request is refused.
    Deny,
    /// The request goes on although it breaks a policy.
    Warn,
}

impl DecisionKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Allow, Self::Conflict, Self::Deny, Self::Warn];

    /// The word in labels.
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
    /// It does not: the pod was built from a state of its Agent or Tool that is no longer the one
    /// that is known. Whoever builds it anew may succeed.
    Conflict(Conflict),
    /// It does not.
    Deny(Denial),
}

/// A pod that has to be built anew.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Conflict {
    /// The pod.
    pub subject: Subject,
    /// What changed since it was built.
    pub change: String,
}

impl Conflict {
    /// The sentence for `status.message`.
    #[must_use]
    pub fn message(&self) -> String {
        format!(
            "{} is outdated: {} (hint: create it anew, from what is there now)",
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
    /// Its name, a legal one.
    pub name: &'r str,
    /// The one state that will do, because a placeholder is to be filled from it; `None` where any
    /// will.
    pub state: Option<ObjectState<'r>>,
}

impl Review<'_> {
    /// Says which objects [`decide`] needs to know of.
    ///
    /// A label is not validated yet when admission runs: a name that no object can have is not
    /// asked for, because it would end up in the path of a request.
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

/// Refuses a pod whose Agent or Tool this version cannot read: nobody can tell what it should run.
/// `field` is the path of what cannot be read.
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
/// Agents and Tools are judged by the same rules in both webhooks: in the first because the
/// schema, which speaks between the two, would refuse a spec before it could be recorded; in the
/// second because another webhook may have changed it.
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
    // Not before: what the schema refuses is better said by it.
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

/// Changes an object that has nothing wrong.
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
