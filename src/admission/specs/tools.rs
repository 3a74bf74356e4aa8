use serde::Deserialize;
use serde_json::Value;

use super::{
    fields::{Findings, judge_image, judge_key_ref, judge_size, quote, text},
    spec::{Judged, PROBE_ACTIONS, Spec},
};
use crate::{
    admission::{
        Policy, Reason,
        change::Change,
        denial::Cause,
        references::{self, Reference, ReferenceSubject},
    },
    api::ToolType,
    images::nearest,
};

const CREDENTIALS: &str = "spec.config.credentialsRef";

/// The fields of a Tool that the rules read.
#[derive(Debug, Deserialize)]
pub(in crate::admission) struct ToolView {
    #[serde(default)]
    spec: Spec,
}

impl ToolView {
    /// True if no field that affects what runs differs.
    pub(in crate::admission) fn steers_the_same_as(&self, other: &Self) -> bool {
        self.spec
            .steers_the_same_as(&other.spec)
    }
}

/// Judges a Tool that is created or updated.
pub(in crate::admission) fn judge(tool: &Change<ToolView>, policy: &Policy) -> Findings {
    let mut findings = Findings::default();
    let spec = &tool.new.spec;
    let old = tool.old.as_ref().map(|old| &old.spec);
    judge_size(spec, old, &mut findings);
    if tool.is_settled(|new, old| new.spec.is_judged_as(&old.spec)) {
        return findings;
    }
    judge_type(spec, &mut findings);
    judge_image(spec.judged(Judged::Image), policy, &mut findings);
    judge_probe(spec.judged(Judged::Probe), &mut findings);
    let credentials = spec
        .judged(Judged::Config)
        .get("credentialsRef")
        .filter(|reference| !reference.is_null());
    if credentials.is_some() {
        judge_key_ref(CREDENTIALS, credentials, &mut findings);
    }
    findings
}

/// Judges the host of a probe. The kubelet probes from the network of its node, which a host in a
/// probe would open to the author.
fn judge_probe(probe: &Value, findings: &mut Findings) {
    for action in PROBE_ACTIONS {
        let host = probe
            .get(action)
            .and_then(|action| action.get("host"))
            .and_then(Value::as_str)
            .filter(|host| !host.is_empty());
        if let Some(host) = host {
            let field = format!("spec.probe.{action}.host");
            let detail = "a probe asks the Tool's own pod and no other host";
            findings.refuse(
                Cause::invalid(Reason::InvalidProbe, field, host, detail).hint("remove it"),
            );
        }
    }
}

/// The Secret that its pod would use. Empty if an update changes nothing that affects what runs.
pub(in crate::admission) fn references(tool: &Change<ToolView>) -> Vec<Reference<'_>> {
    if tool.is_settled(ToolView::steers_the_same_as) {
        return Vec::new();
    }
    references::references(ReferenceSubject::Tool, &tool.new.spec)
}

fn judge_type(spec: &Spec, findings: &mut Findings) {
    const FIELD: &str = "spec.type";
    let supported = || {
        ToolType::ALL
            .iter()
            .map(|type_| type_.as_str())
    };
    let type_ = spec.judged(Judged::Type);
    let word = text(type_);
    if type_.is_null() {
        let supported = supported()
            .collect::<Vec<_>>()
            .join(", ");
        findings.refuse(
            Cause::required(Reason::UnknownToolType, FIELD, "a Tool needs a type")
                .hint(&format!("set spec.type to one of {supported}")),
        );
    } else if word == Some(ToolType::Custom.as_str()) {
        if text(spec.judged(Judged::Image)).is_none_or(|image| image.trim().is_empty()) {
            findings.refuse(
                Cause::required(
                    Reason::ImageRequired,
                    "spec.image",
                    "type custom has no default image",
                )
                .hint("set spec.image to the image this Tool should run"),
            );
        }
    } else if !supported().any(|known| word == Some(known)) {
        let mut cause =
            Cause::unsupported(Reason::UnknownToolType, FIELD, &quote(type_), supported());
        if let Some(nearest) = word.and_then(|word| nearest(word, supported())) {
            cause = cause.hint(&format!("did you mean {nearest:?}?"));
        }
        findings.refuse(cause);
    }
}
