use serde::Deserialize;
use serde_json::Value;

use super::{
    fields::{Findings, judge_image, judge_key_ref, judge_pull_secrets, judge_size, quote, text},
    spec::{Judged, Spec},
};
use crate::{
    admission::{
        Policy, Reason,
        change::Change,
        denial::Cause,
        references::{self, Reference, ReferenceSubject},
    },
    images::{Runtime, UnknownRuntime, runtimes},
};

/// The fields of an Agent that the rules read.
#[derive(Debug, Deserialize)]
pub(in crate::admission) struct AgentView {
    #[serde(default)]
    spec: Spec,
}

impl AgentView {
    /// True if no field that affects what runs differs.
    pub(in crate::admission) fn steers_the_same_as(&self, other: &Self) -> bool {
        self.spec
            .steers_the_same_as(&other.spec)
    }
}

/// Judges an Agent that is created or updated.
pub(in crate::admission) fn judge(agent: &Change<AgentView>, policy: &Policy) -> Findings {
    let mut findings = Findings::default();
    let spec = &agent.new.spec;
    let old = agent.old.as_ref().map(|old| &old.spec);
    judge_size(spec, old, &mut findings);
    if agent.is_settled(|new, old| new.spec.is_judged_as(&old.spec)) {
        return findings;
    }
    let runtime = judge_runtime(spec, &mut findings);
    judge_image(spec.judged(Judged::Image), policy, &mut findings);
    judge_pull_secrets(spec.judged(Judged::ImagePullSecrets), &mut findings);
    judge_token(spec, runtime, &mut findings);
    findings
}

/// The references to objects that its pod would use. Empty if an update changes nothing that
/// affects what runs.
pub(in crate::admission) fn references(agent: &Change<AgentView>) -> Vec<Reference<'_>> {
    if agent.is_settled(AgentView::steers_the_same_as) {
        return Vec::new();
    }
    references::references(ReferenceSubject::Agent, &agent.new.spec)
}

fn judge_runtime(spec: &Spec, findings: &mut Findings) -> Option<Runtime> {
    const FIELD: &str = "spec.runtime";
    let supported = || runtimes().map(Runtime::as_str);
    let word = spec.judged(Judged::Runtime);
    let runtime = match word {
        Value::Null => {
            let supported = supported()
                .collect::<Vec<_>>()
                .join(", ");
            findings.refuse(
                Cause::required(Reason::UnknownRuntime, FIELD, "an Agent needs a runtime")
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
                && text(spec.judged(Judged::Image)).is_none_or(|image| image.trim().is_empty())
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
            let mut cause =
                Cause::unsupported(Reason::UnknownRuntime, FIELD, &quote(word), supported());
            if let Some(nearest) = suggestion {
                cause = cause.hint(&format!("did you mean {nearest:?}?"));
            }
            findings.refuse(cause);
            None
        }
    }
}

fn judge_token(spec: &Spec, runtime: Option<Runtime>, findings: &mut Findings) {
    let token = spec.judged(Judged::AgentToken);
    if token.is_null() {
        if let Some(token) = runtime.and_then(Runtime::token) {
            findings.warn(format!(
                "spec.agentToken: not set, so {token} will not be there for the agent \
                 (hint: set spec.agentToken.secretRef to the Secret and key that hold the token)"
            ));
        }
        return;
    }
    judge_key_ref(
        "spec.agentToken.secretRef",
        token.get("secretRef"),
        findings,
    );
    if let Some(runtime) = runtime
        && runtime.token().is_none()
    {
        findings.warn(format!(
            "spec.agentToken: not used, because runtime {runtime} has no token variable \
             (hint: remove it)"
        ));
    }
}
