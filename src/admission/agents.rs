use serde::Deserialize;
use serde_json::Value;

use super::{
    Policy, Reason,
    denial::Cause,
    fields::{Findings, Metadata, judge_image, judge_key_ref, judge_pull_secrets, quote, text},
    review::Change,
};
use crate::images::{Runtime, UnknownRuntime, runtimes};

/// The fields of an Agent that are judged, whatever their types: the API server calls before it
/// validates the schema.
#[derive(Debug, Deserialize)]
pub(super) struct AgentView<'a> {
    #[serde(borrow, default)]
    pub(super) metadata: Metadata<'a>,
    #[serde(default)]
    spec: AgentFields,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
struct AgentFields {
    runtime: Value,
    image: Value,
    image_pull_secrets: Value,
    agent_token: Value,
}

/// Judges an Agent that is created or updated.
pub(super) fn judge(agent: &Change<AgentView<'_>>, policy: &Policy) -> Findings {
    let mut findings = Findings::default();
    let spec = &agent.new.spec;
    let is_unchanged = agent
        .old
        .as_ref()
        .is_some_and(|old| old.spec == *spec);
    if is_unchanged || agent.new.metadata.is_being_deleted() {
        return findings;
    }
    let runtime = judge_runtime(spec, &mut findings);
    judge_image(&spec.image, policy, &mut findings);
    judge_pull_secrets(&spec.image_pull_secrets, &mut findings);
    judge_token(spec, runtime, &mut findings);
    findings
}

fn judge_runtime(spec: &AgentFields, findings: &mut Findings) -> Option<Runtime> {
    const FIELD: &str = "spec.runtime";
    let supported = || runtimes().map(Runtime::as_str);
    let runtime = match &spec.runtime {
        Value::Null => {
            let supported = supported()
                .collect::<Vec<_>>()
                .join(", ");
            findings.refuse(
                Cause::required(
                    Reason::UnknownRuntime,
                    FIELD,
                    "an Agent runs one of the runtimes",
                )
                .hint(&format!("set spec.runtime to one of {supported}")),
            );
            return None;
        }
        Value::String(word) => word.parse::<Runtime>(),
        _ => Err(UnknownRuntime { suggestion: None }),
    };
    match runtime {
        Ok(runtime) => {
            if runtime
                .row()
                .is_none_or(|row| row.repository.is_none())
                && text(&spec.image).is_none_or(|image| image.trim().is_empty())
            {
                findings.refuse(
                    Cause::required(
                        Reason::ImageRequired,
                        "spec.image",
                        &format!("runtime {runtime} has no default image"),
                    )
                    .hint("set spec.image to the image this Agent should run"),
                );
            }
            Some(runtime)
        }
        Err(UnknownRuntime { suggestion }) => {
            let mut cause = Cause::unsupported(
                Reason::UnknownRuntime,
                FIELD,
                &quote(&spec.runtime),
                supported(),
            );
            if let Some(nearest) = suggestion {
                cause = cause.hint(&format!("did you mean {nearest:?}?"));
            }
            findings.refuse(cause);
            None
        }
    }
}

fn judge_token(spec: &AgentFields, runtime: Option<Runtime>, findings: &mut Findings) {
    let reference = spec.agent_token.get("secretRef");
    if spec.agent_token.is_null() {
        if let Some(token) = runtime.and_then(Runtime::token) {
            findings.warn(format!(
                "spec.agentToken: not set, so {token} will not be there for the agent \
                 (hint: set spec.agentToken.secretRef to the Secret and key that hold the token)"
            ));
        }
        return;
    }
    judge_key_ref("spec.agentToken.secretRef", reference, findings);
    if let Some(runtime) = runtime
        && runtime.token().is_none()
    {
        findings.warn(format!(
            "spec.agentToken: not used, because runtime {runtime} has no token variable \
             (hint: remove it)"
        ));
    }
}
