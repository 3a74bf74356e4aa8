use super::{
    change::Change,
    denial::Cause,
    pods::{self, PodScope, PodView},
    specs::{agents::AgentView, tools::ToolView},
    wire::request::{Request, malformed},
};

/// The object of a review, read into the fields that the rules use.
#[derive(Debug)]
pub(super) enum Target<'a> {
    /// An Agent, and on UPDATE its previous state.
    Agent(Change<AgentView>),
    /// Nothing to judge: the operation neither creates nor updates.
    Nothing,
    /// A pod, on UPDATE its previous state, and the part of it that the request may change.
    Pod(Box<Change<PodView<'a>>>, PodScope),
    /// A pod that is admitted without being judged.
    SettledPod,
    /// A Tool, and on UPDATE its previous state.
    Tool(Change<ToolView>),
}

impl<'a> Target<'a> {
    pub(super) fn parse(request: &Request<'a>) -> Result<Self, Cause> {
        let update = match request.operation.as_str() {
            "CREATE" => false,
            "UPDATE" => true,
            // Nothing is created or changed, so there is nothing to refuse. A registration that is
            // too wide must not block deletions.
            _ => return Ok(Self::Nothing),
        };
        let old = update
            .then_some(request.old_object)
            .flatten();
        let group = request.resource.group.as_str();
        let resource = request.resource.resource.as_str();
        match (group, resource, request.sub_resource.as_str()) {
            (crate::api::GROUP, "agents", _) => {
                Ok(Self::Agent(Change::parse(request.object, old)?))
            }
            (crate::api::GROUP, "tools", _) => Ok(Self::Tool(Change::parse(request.object, old)?)),
            ("", "pods", "") => Ok(Self::pod(
                Change::parse(request.object, old)?,
                PodScope::of_update(update),
            )),
            ("", "pods", "ephemeralcontainers") => Ok(Self::pod(
                Change::parse(request.object, old)?,
                PodScope::Ephemeral,
            )),
            (_, _, sub_resource) => {
                let mut asked = format!("{resource}.{group}")
                    .trim_end_matches('.')
                    .to_owned();
                if !sub_resource.is_empty() {
                    asked = format!("{asked}/{sub_resource}");
                }
                Err(malformed("request.resource", &format!("agentkube does not serve {asked}"))
                    .hint("register the webhook for agents, tools, pods and pods/ephemeralcontainers only"))
            }
        }
    }

    fn pod(pod: Change<PodView<'a>>, scope: PodScope) -> Self {
        if pods::is_settled(&pod, scope) {
            Self::SettledPod
        } else {
            Self::Pod(Box::new(pod), scope)
        }
    }
}
