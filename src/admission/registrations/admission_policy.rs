//! The common shape of our validating admission policies, which the API server evaluates itself.

use k8s_openapi::{
    api::admissionregistration::v1::{
        MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy,
        ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec,
        ValidatingAdmissionPolicySpec,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta},
};

use crate::api::EXCLUDED_NAMESPACES;

/// A policy and its binding.
#[derive(Clone, Debug, PartialEq)]
pub struct AdmissionPolicy {
    /// The policy.
    pub policy: ValidatingAdmissionPolicy,
    /// The binding, which makes a failed validation a denial. It has the name of the policy.
    pub binding: ValidatingAdmissionPolicyBinding,
    /// The consequence of a missing policy: `so that …`.
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

/// The requests that a policy applies to, in the same namespaces as the registrations.
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

/// Selects the namespaces that are not excluded.
pub(in crate::admission) fn is_served() -> LabelSelectorRequirement {
    LabelSelectorRequirement {
        key: "kubernetes.io/metadata.name".to_owned(),
        operator: "NotIn".to_owned(),
        values: Some(texts(&EXCLUDED_NAMESPACES)),
    }
}

/// Converts words to the strings that Kubernetes types take.
pub(in crate::admission) fn texts(words: &[&str]) -> Vec<String> {
    words
        .iter()
        .map(|&word| word.to_owned())
        .collect()
}
