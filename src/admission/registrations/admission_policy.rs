//! Policies that the API server follows by itself, in the shape that all of ours have.

use k8s_openapi::{
    api::admissionregistration::v1::{
        MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy,
        ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec,
        ValidatingAdmissionPolicySpec,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta},
};

use crate::api::EXCLUDED_NAMESPACES;

/// A policy with what puts it into force.
#[derive(Clone, Debug, PartialEq)]
pub struct AdmissionPolicy {
    /// The questions.
    pub policy: ValidatingAdmissionPolicy,
    /// Makes a no a refusal. It has the name of the policy.
    pub binding: ValidatingAdmissionPolicyBinding,
    /// The consequence of its absence: `so that …`.
    pub without: &'static str,
}

impl AdmissionPolicy {
    pub(in crate::admission) fn new(
        name: &str,
        without: &'static str,
        spec: ValidatingAdmissionPolicySpec,
    ) -> Self {
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        };
        Self {
            policy: ValidatingAdmissionPolicy {
                metadata: metadata.clone(),
                spec: Some(ValidatingAdmissionPolicySpec {
                    failure_policy: Some("Fail".to_owned()),
                    ..spec
                }),
                status: None,
            },
            binding: ValidatingAdmissionPolicyBinding {
                metadata,
                spec: Some(ValidatingAdmissionPolicyBindingSpec {
                    policy_name: Some(name.to_owned()),
                    validation_actions: Some(vec!["Deny".to_owned()]),
                    ..ValidatingAdmissionPolicyBindingSpec::default()
                }),
            },
            without,
        }
    }
}

/// The requests of the namespaces that the registrations match, too.
pub(in crate::admission) fn matches(
    (group, version): (&str, &str),
    resources: &[&str],
    operations: &[&str],
) -> MatchResources {
    MatchResources {
        match_policy: Some("Equivalent".to_owned()),
        namespace_selector: Some(LabelSelector {
            match_expressions: Some(vec![is_served()]),
            ..LabelSelector::default()
        }),
        resource_rules: Some(vec![NamedRuleWithOperations {
            api_groups: Some(texts(&[group])),
            api_versions: Some(texts(&[version])),
            operations: Some(texts(operations)),
            resources: Some(texts(resources)),
            scope: Some("Namespaced".to_owned()),
            ..NamedRuleWithOperations::default()
        }]),
        ..MatchResources::default()
    }
}

/// A namespace that is not left out.
pub(in crate::admission) fn is_served() -> LabelSelectorRequirement {
    LabelSelectorRequirement {
        key: "kubernetes.io/metadata.name".to_owned(),
        operator: "NotIn".to_owned(),
        values: Some(texts(&EXCLUDED_NAMESPACES)),
    }
}

/// Words as the types of Kubernetes take them.
pub(in crate::admission) fn texts(words: &[&str]) -> Vec<String> {
    words
        .iter()
        .map(|&word| word.to_owned())
        .collect()
}
