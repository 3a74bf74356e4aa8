//! Which pods the validating webhook has to see, in the API server's own words.

use std::fmt::Write;

use super::{Placeholder, Policy, credential};
use crate::{
    api::IMAGES_ANNOTATION,
    images::{MirrorPrefix, Runtime, runtimes},
};

/// Longer lists are not looked through by the API server, which allows an expression only so much
/// work: such a pod comes to the webhook.
const MOST_CONTAINERS: usize = 16;
const MOST_VARIABLES: usize = 128;
const MOST_VOLUMES: usize = 64;
/// With more allowed registries than this, only images below the first ones are told at sight.
const MOST_PREFIXES: usize = 64;

impl Policy {
    /// A CEL expression over `object`, a pod, as `matchConditions` take it: true for every pod that
    /// [`Webhook::Validate`](super::Webhook::Validate) could refuse, and for some more.
    ///
    /// A pod for which it is false went through [`Webhook::Mutate`](super::Webhook::Mutate), which
    /// wrote down what it did; no placeholder is left in it, each of its images lies below an allowed
    /// registry, and no token stands in it as a literal. Only whether the Agent or Tool that its
    /// labels name exists is taken on trust: mutation has refused it where not, and whoever forges
    /// the record gains nothing but the label.
    #[must_use]
    pub fn suspects(&self) -> String {
        let mut expression = format!(
            "!has(object.metadata.annotations) || !('{IMAGES_ANNOTATION}' in object.metadata.annotations) || object.spec.containers == null"
        );
        let image = self.is_suspect("c.image");
        let tokens = tokens();
        for list in ["containers", "initContainers", "ephemeralContainers"] {
            // Writing to a String never fails.
            let _ = write!(
                expression,
                " || has(object.spec.{list}) && (object.spec.{list}.size() > {MOST_CONTAINERS} || object.spec.{list}.exists(c, \
                 !has(c.image) || {image} || has(c.env) && (c.env.size() > {MOST_VARIABLES} || c.env.exists(e, !has(e.valueFrom) && e.name in [{tokens}]))))"
            );
        }
        let image = self.is_suspect("v.image.reference");
        let _ = write!(
            expression,
            " || has(object.spec.volumes) && (object.spec.volumes.size() > {MOST_VOLUMES} || object.spec.volumes.exists(v, \
             has(v.image) && has(v.image.reference) && ({image})))"
        );
        expression
    }

    /// Whether an image is a placeholder, or not at sight below an allowed registry.
    fn is_suspect(&self, image: &str) -> String {
        let host = Placeholder::image("");
        let is_placeholder = format!("{image}.startsWith('{host}')");
        if self.allowed_registries.allow_all() {
            return is_placeholder;
        }
        let is_allowed = self
            .allowed_registries
            .iter()
            .map(MirrorPrefix::as_str)
            // Whoever reads the registration would read it.
            .filter(|prefix| credential::shown(prefix) == *prefix)
            .take(MOST_PREFIXES)
            .map(|prefix| format!("{image}.startsWith('{prefix}/')"))
            .collect::<Vec<_>>()
            .join(" || ");
        if is_allowed.is_empty() {
            return "true".to_owned();
        }
        format!("{is_placeholder} || !({is_allowed})")
    }
}

/// Every token variable of the matrix, as a CEL list has them.
fn tokens() -> String {
    runtimes()
        .filter_map(Runtime::token)
        .map(|token| format!("'{token}'"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn policy(allowed: &str) -> Policy {
        Policy::parse([("AGENTKUBE_ALLOWED_REGISTRIES", allowed)]).unwrap()
    }

    /// Whether a pod with this container would come to the webhook.
    fn is_suspect(policy: &Policy, container: &Value) -> bool {
        is_suspect_pod(
            policy,
            &json!({
                "metadata": {"annotations": {"agentkube.io/images": "[]"}},
                "spec": {"containers": [container]},
            }),
        )
    }

    fn is_suspect_pod(policy: &Policy, pod: &Value) -> bool {
        let program = cel::Program::compile(&policy.suspects()).unwrap();
        let mut context = cel::Context::default();
        context
            .add_variable("object", pod)
            .unwrap();
        match program.execute(&context) {
            Ok(cel::Value::Bool(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_pod_that_is_as_it_should_be_is_none() {
        let container = json!({
            "name": "agentlet", "image": "quay.io/team/app:v1",
            "env": [{"name": "HOME", "value": "/"}, {"name": "OPENAI_API_KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        });
        assert!(!is_suspect(&Policy::default(), &container));
        assert!(!is_suspect(&policy("quay.io/team,docker.io"), &container));
    }

    #[test]
    fn what_was_not_mutated_is_one() {
        let containers = json!([{"name": "c", "image": "quay.io/team/app:v1"}]);
        for metadata in [json!({}), json!({"annotations": {"team": "a"}})] {
            let pod = json!({"metadata": metadata, "spec": {"containers": containers}});
            assert!(is_suspect_pod(&Policy::default(), &pod), "{pod}");
        }
    }

    #[test]
    fn a_placeholder_is_one_wherever_it_stands() {
        let placeholder = "agentkube.invalid/agent";
        let container = json!({"name": "c", "image": placeholder});
        for spec in [
            json!({"containers": [container]}),
            json!({"containers": [], "initContainers": [container]}),
            json!({"containers": [], "ephemeralContainers": [container]}),
            json!({"containers": [], "volumes": [{"name": "v", "image": {"reference": placeholder}}]}),
        ] {
            let pod =
                json!({"metadata": {"annotations": {"agentkube.io/images": "[]"}}, "spec": spec});
            for policy in [Policy::default(), policy("agentkube.invalid")] {
                assert!(is_suspect_pod(&policy, &pod), "{pod}");
            }
        }
    }

    #[test]
    fn an_image_that_is_not_at_sight_below_an_allowed_registry_is_one() {
        let policy = policy("quay.io/team");
        for image in ["nginx", "quay.io/teammates/app", "quay.io/other/app", ""] {
            assert!(
                is_suspect(&policy, &json!({"name": "c", "image": image})),
                "{image}"
            );
        }
        assert!(is_suspect(&policy, &json!({"name": "c"})));
    }

    #[test]
    fn a_literal_token_is_one() {
        let container = json!({
            "name": "c", "image": "quay.io/team/app:v1",
            "env": [{"name": "OPENAI_API_KEY", "value": "sk"}],
        });
        assert!(is_suspect(&Policy::default(), &container));
    }

    #[test]
    fn lists_that_are_too_long_to_look_through_are() {
        let container = json!({"name": "c", "image": "quay.io/team/app:v1"});
        let pod = |number| {
            json!({
                "metadata": {"annotations": {"agentkube.io/images": "[]"}},
                "spec": {"containers": vec![container.clone(); number]},
            })
        };
        assert!(!is_suspect_pod(&Policy::default(), &pod(MOST_CONTAINERS)));
        assert!(is_suspect_pod(
            &Policy::default(),
            &pod(MOST_CONTAINERS + 1)
        ));
    }

    #[test]
    fn a_registry_that_looks_like_a_credential_is_not_written_there() {
        let token = "sk-0123456789abcdefghijm";
        let policy = policy(&format!("registry.example.com/{token}"));
        assert!(!policy.suspects().contains(token));
        let image = format!("registry.example.com/{token}/app");
        assert!(is_suspect(&policy, &json!({"name": "c", "image": image})));
    }
}
