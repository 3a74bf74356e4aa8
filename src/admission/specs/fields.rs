//! Rules for single fields that Agents and Tools have in common.

use serde_json::Value;

use super::spec::Spec;
use crate::{
    admission::{Placeholder, Policy, Reason, credential, denial::Cause, names},
    api::LONGEST_SPEC_BYTES,
    images::ImageReference,
};

/// The problems and warnings found in an object.
#[derive(Debug, Default)]
pub(in crate::admission) struct Findings {
    pub(in crate::admission) causes: Vec<Cause>,
    pub(in crate::admission) warnings: Vec<String>,
}

impl Findings {
    pub(in crate::admission) fn refuse(&mut self, cause: Cause) {
        self.causes.push(cause);
    }

    pub(in crate::admission) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }
}

/// The text of a field, if it holds text.
pub(in crate::admission) fn text(value: &Value) -> Option<&str> {
    value.as_str()
}

/// A value, as messages show it.
pub(in crate::admission) fn quote(value: &Value) -> String {
    match value {
        Value::String(text) => credential::quote(text),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// Judges the size of the spec. A spec that was too large before the update may stay, so that
/// labels and finalizers can still be changed.
pub(in crate::admission) fn judge_size(spec: &Spec, old: Option<&Spec>, findings: &mut Findings) {
    let most = old
        .map_or(0, Spec::bytes)
        .max(LONGEST_SPEC_BYTES);
    if spec.bytes() > most {
        findings.refuse(
            Cause::too_long(Reason::SpecTooLarge, "spec", LONGEST_SPEC_BYTES).hint(
                "move long values to a place that the agent can read, such as a ConfigMap or the image",
            ),
        );
    }
}

/// Judges `spec.image`, which may be absent or an image reference.
pub(in crate::admission) fn judge_image(value: &Value, policy: &Policy, findings: &mut Findings) {
    const FIELD: &str = "spec.image";
    if value.is_null() {
        return;
    }
    let Some(image) = text(value) else {
        findings.refuse(
            Cause::forbidden(
                Reason::InvalidImage,
                FIELD,
                "an image reference is a string",
            )
            .hint("write it as host/path:tag, in quotes if YAML reads it as something else"),
        );
        return;
    };
    // A missing image of runtime or type Custom is reported elsewhere.
    if image.trim().is_empty()
        && findings
            .causes
            .iter()
            .any(|cause| cause.reason == Reason::ImageRequired)
    {
        return;
    }
    if Placeholder::parse(image).is_some() {
        findings.refuse(
            Cause::invalid(
                Reason::InvalidImage,
                FIELD,
                image,
                "must be an image, and this is a placeholder for one",
            )
            .hint("name the image that should run"),
        );
        return;
    }
    match image.parse::<ImageReference>() {
        Ok(reference) => {
            if !policy
                .allowed_registries
                .allow(&reference)
            {
                findings.refuse(Cause::registry_not_allowed(
                    FIELD,
                    image,
                    "spec.image",
                    policy,
                ));
            }
            let image = credential::shown(image);
            if reference.tag().is_none() && reference.digest().is_none() {
                findings.warn(format!(
                    "spec.image: {image} has neither tag nor digest, so what runs can change at any restart \
                     (hint: pin a tag or a digest)"
                ));
            }
            if let Some(mirror) = policy.images.mirror()
                && !mirror.prefix.covers(&reference)
            {
                findings.warn(format!(
                    "spec.image: {image} is not under AGENTKUBE_IMAGE_REGISTRY ({}), so it bypasses the mirror \
                     (hint: name the mirrored image, or leave spec.image out)",
                    mirror.prefix.as_str()
                ));
            }
        }
        Err(error) => {
            let mut cause = Cause::invalid(Reason::InvalidImage, FIELD, image, &error.to_string());
            if let Some(hint) = error.hint() {
                cause = cause.hint(hint);
            }
            findings.refuse(cause);
        }
    }
}

/// Judges a reference to one key of a Secret.
pub(in crate::admission) fn judge_key_ref(
    field: &str,
    reference: Option<&Value>,
    findings: &mut Findings,
) {
    let Some(reference) = reference.filter(|reference| reference.is_object()) else {
        findings.refuse(
            Cause::required(
                Reason::InvalidSecretRef,
                field,
                "a reference needs the name of a Secret and a key",
            )
            .hint("set name and key; the token itself belongs in the Secret"),
        );
        return;
    };
    let member = |name| {
        reference
            .get(name)
            .unwrap_or(&Value::Null)
    };
    judge_secret_name(&format!("{field}.name"), member("name"), findings);

    let field = format!("{field}.key");
    match text(member("key")) {
        // A key may hold upper case letters, unlike a name, so a whole token would be a legal key.
        Some(key) if credential::looks_like_credential(key) => {
            findings.refuse(pasted_credential(field));
        }
        Some(key) if names::is_data_key(key) => {}
        Some(key) if !key.trim().is_empty() => findings.refuse(Cause::invalid(
            Reason::InvalidSecretRef,
            field,
            key,
            "the key of a Secret consists of letters, digits, '-', '_' and '.'",
        )),
        _ => findings.refuse(
            Cause::required(Reason::InvalidSecretRef, field, "the key in the Secret")
                .hint("set it to the key that holds the token"),
        ),
    }
}

/// Judges `spec.imagePullSecrets`. The API server accepts a blank name, and the kubelet would then
/// pull anonymously.
pub(in crate::admission) fn judge_pull_secrets(value: &Value, findings: &mut Findings) {
    for (index, secret) in value
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let field = format!("spec.imagePullSecrets[{index}].name");
        judge_secret_name(
            &field,
            secret
                .get("name")
                .unwrap_or(&Value::Null),
            findings,
        );
    }
}

fn judge_secret_name(field: &str, value: &Value, findings: &mut Findings) {
    match text(value) {
        Some(name) if names::is_subdomain(name) => {}
        Some(name) if credential::looks_like_credential(name) => {
            findings.refuse(pasted_credential(field));
        }
        Some(name) if !name.trim().is_empty() => findings.refuse(Cause::invalid(
            Reason::InvalidSecretRef,
            field,
            name,
            "the name of a Secret consists of lower case letters, digits, '-' and '.', \
             and starts and ends with a letter or digit",
        )),
        _ => findings.refuse(
            Cause::required(Reason::InvalidSecretRef, field, "the name of a Secret")
                .hint("set it to the name of a Secret in the same namespace"),
        ),
    }
}

fn pasted_credential(field: impl Into<String>) -> Cause {
    Cause::forbidden(Reason::InvalidSecretRef, field, "the value looks like a credential, not a name")
        .hint("put the token into a Secret, name that Secret here, and revoke the token, since it was exposed")
}
