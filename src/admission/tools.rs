use serde::Deserialize;
use serde_json::Value;

use super::{
    Policy, Reason,
    denial::Cause,
    fields::{Findings, Metadata, judge_image, judge_key_ref, quote, text},
    review::Change,
};
use crate::{api::ToolType, images::nearest};

/// The fields of a Tool that are judged, whatever their types.
#[derive(Debug, Deserialize)]
pub(super) struct ToolView<'a> {
    #[serde(borrow, default)]
    pub(super) metadata: Metadata<'a>,
    #[serde(default)]
    spec: ToolFields,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct ToolFields {
    #[serde(rename = "type")]
    type_: Value,
    image: Value,
    config: ConfigFields,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
struct ConfigFields {
    credentials_ref: Value,
}

/// Judges a Tool that is created or updated.
pub(super) fn judge(tool: &Change<ToolView<'_>>, policy: &Policy) -> Findings {
    let mut findings = Findings::default();
    let spec = &tool.new.spec;
    let is_unchanged = tool
        .old
        .as_ref()
        .is_some_and(|old| old.spec == *spec);
    if is_unchanged || tool.new.metadata.is_being_deleted() {
        return findings;
    }
    judge_type(spec, &mut findings);
    judge_image(&spec.image, policy, &mut findings);
    let credentials = &spec.config.credentials_ref;
    if !credentials.is_null() {
        judge_key_ref(
            "spec.config.credentialsRef",
            Some(credentials),
            &mut findings,
        );
    }
    findings
}

fn judge_type(spec: &ToolFields, findings: &mut Findings) {
    const FIELD: &str = "spec.type";
    let supported = || {
        ToolType::ALL
            .iter()
            .map(|type_| type_.as_str())
    };
    let word = text(&spec.type_);
    if spec.type_.is_null() {
        let supported = supported()
            .collect::<Vec<_>>()
            .join(", ");
        findings.refuse(
            Cause::required(
                Reason::UnknownToolType,
                FIELD,
                "a Tool is of one of the types",
            )
            .hint(&format!("set spec.type to one of {supported}")),
        );
    } else if word == Some(ToolType::Custom.as_str()) {
        if text(&spec.image).is_none_or(|image| image.trim().is_empty()) {
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
        let mut cause = Cause::unsupported(
            Reason::UnknownToolType,
            FIELD,
            &quote(&spec.type_),
            supported(),
        );
        if let Some(nearest) = word.and_then(|word| nearest(word, supported())) {
            cause = cause.hint(&format!("did you mean {nearest:?}?"));
        }
        findings.refuse(cause);
    }
}
