//! The webhook registrations, which tell the API server when to call.
//!
//! A pod is only sent if one of its images is a placeholder, or if it says that it belongs to an
//! Agent or a Tool. Other pods, kube-system and the manager's own namespace never depend on a
//! webhook. An object that is being deleted is only sent if its spec changes, so finalizers can be
//! removed and a foreground deletion can end while no replica answers. A pod's owner is read from
//! its labels before and after the request and from its controller, since a label can be removed.

pub(in crate::admission) mod admission_policy;
pub(in crate::admission) mod match_condition;
pub(in crate::admission) mod ownership;
pub(in crate::admission) mod webhook;

use std::collections::BTreeSet;

use k8s_openapi::{
    api::admissionregistration::v1::{
        MatchCondition, MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations,
        ServiceReference, ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};
use kube::api::ObjectMeta;

use self::admission_policy::{is_served, texts};
use super::{AdmissionPhase, Placeholder, Webhook};
use crate::{
    api::{
        AGENT_LABEL, GROUP, MANAGER, MANAGER_NAMESPACE, MIRROR_POD_ANNOTATION, PodSlotKind,
        REWRITE_DEFAULTS_LABEL, TOOL_LABEL, VERSION,
    },
    images::rows,
};

/// The name of both registrations.
pub const REGISTRATION: &str = MANAGER;

/// The time that the API server waits for an answer, in seconds.
const TIMEOUT_SECONDS: i32 = 5;

/// One entry of a registration. Names are unique, because the API server's audit log identifies
/// entries by name.
struct Entry {
    name: &'static str,
    webhook: Webhook,
    objects: Objects,
    conditions: &'static [Condition],
}

/// The objects that an entry is called for.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Objects {
    AgentsAndTools,
    Pods,
    /// Pods in namespaces that carry [`REWRITE_DEFAULTS_LABEL`].
    PodsThatFollowDefaults,
}

/// A condition of an entry. The entry is called if all of its conditions hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Condition {
    /// An image is one of our default images, on any registry.
    HasDefaultImage,
    /// The pod belongs to no Agent and no Tool, before and after the request.
    HasNoOwner,
    /// An image is a placeholder, or the pod belongs to an Agent or a Tool before or after the
    /// request.
    HasPlaceholderOrOwner,
    /// The object is not being deleted, or its spec changes.
    IsMoreThanADeletion,
    /// The pod is not being deleted, or its spec or its owner changes.
    IsMoreThanADeletionOfAPod,
    /// The pod is not a mirror pod, which a kubelet runs from a file.
    IsNoMirrorPod,
}

const ENTRIES: [Entry; 5] = [
    Entry {
        name: "agents.agentkube.io",
        webhook: Webhook::Mutate,
        objects: Objects::AgentsAndTools,
        conditions: &[Condition::IsMoreThanADeletion],
    },
    Entry {
        name: "pods.agentkube.io",
        webhook: Webhook::Mutate,
        objects: Objects::Pods,
        conditions: &[
            Condition::HasPlaceholderOrOwner,
            Condition::IsMoreThanADeletionOfAPod,
            Condition::IsNoMirrorPod,
        ],
    },
    Entry {
        name: "defaults.agentkube.io",
        webhook: Webhook::RewriteDefaults,
        objects: Objects::PodsThatFollowDefaults,
        conditions: &[
            Condition::HasDefaultImage,
            Condition::HasNoOwner,
            Condition::IsMoreThanADeletionOfAPod,
            Condition::IsNoMirrorPod,
        ],
    },
    Entry {
        name: "validate.agents.agentkube.io",
        webhook: Webhook::Validate,
        objects: Objects::AgentsAndTools,
        conditions: &[Condition::IsMoreThanADeletion],
    },
    Entry {
        name: "validate.pods.agentkube.io",
        webhook: Webhook::Validate,
        objects: Objects::Pods,
        conditions: &[
            Condition::HasPlaceholderOrOwner,
            Condition::IsMoreThanADeletionOfAPod,
            Condition::IsNoMirrorPod,
        ],
    },
];

/// The shipped registrations, without `caBundle`, which the manager sets.
#[must_use]
pub fn registrations() -> (MutatingWebhookConfiguration, ValidatingWebhookConfiguration) {
    let metadata = ObjectMeta {
        name: Some(REGISTRATION.to_owned()),
        ..ObjectMeta::default()
    };
    let of = |phase| {
        ENTRIES
            .iter()
            .filter(move |entry| entry.webhook.phase() == phase)
    };
    (
        MutatingWebhookConfiguration {
            metadata: metadata.clone(),
            webhooks: Some(
                of(AdmissionPhase::Mutating)
                    .map(Entry::mutating)
                    .collect(),
            ),
        },
        ValidatingWebhookConfiguration {
            metadata,
            webhooks: Some(
                of(AdmissionPhase::Validating)
                    .map(Entry::validating)
                    .collect(),
            ),
        },
    )
}

impl Entry {
    fn mutating(&self) -> MutatingWebhook {
        let ValidatingWebhook {
            admission_review_versions,
            client_config,
            failure_policy,
            match_conditions,
            match_policy,
            name,
            namespace_selector,
            object_selector,
            rules,
            side_effects,
            timeout_seconds,
        } = self.validating();
        MutatingWebhook {
            admission_review_versions,
            client_config,
            failure_policy,
            match_conditions,
            match_policy,
            name,
            namespace_selector,
            object_selector,
            reinvocation_policy: Some("IfNeeded".to_owned()),
            rules,
            side_effects,
            timeout_seconds,
        }
    }

    fn validating(&self) -> ValidatingWebhook {
        ValidatingWebhook {
            name: self.name.to_owned(),
            client_config: WebhookClientConfig {
                service: Some(ServiceReference {
                    name: MANAGER.to_owned(),
                    namespace: MANAGER_NAMESPACE.to_owned(),
                    path: Some(self.webhook.path().to_owned()),
                    port: None,
                }),
                ..WebhookClientConfig::default()
            },
            rules: Some(vec![self.objects.rule()]),
            namespace_selector: Some(self.objects.namespaces()),
            match_conditions: Some(
                self.conditions
                    .iter()
                    .map(|condition| MatchCondition {
                        name: condition.name().to_owned(),
                        expression: condition.expression(),
                    })
                    .collect(),
            ),
            failure_policy: Some("Fail".to_owned()),
            match_policy: Some("Equivalent".to_owned()),
            side_effects: "NoneOnDryRun".to_owned(),
            timeout_seconds: Some(TIMEOUT_SECONDS),
            admission_review_versions: vec!["v1".to_owned()],
            ..ValidatingWebhook::default()
        }
    }
}

impl Objects {
    fn rule(self) -> RuleWithOperations {
        let (group, version, resources) = match self {
            Self::AgentsAndTools => (GROUP, VERSION, ["agents", "tools"]),
            Self::Pods | Self::PodsThatFollowDefaults => {
                ("", "v1", ["pods", "pods/ephemeralcontainers"])
            }
        };
        RuleWithOperations {
            api_groups: Some(texts(&[group])),
            api_versions: Some(texts(&[version])),
            operations: Some(texts(&["CREATE", "UPDATE"])),
            resources: Some(texts(&resources)),
            scope: Some("Namespaced".to_owned()),
        }
    }

    fn namespaces(self) -> LabelSelector {
        let asked_for = (self == Self::PodsThatFollowDefaults).then(|| LabelSelectorRequirement {
            key: REWRITE_DEFAULTS_LABEL.to_owned(),
            operator: "In".to_owned(),
            values: Some(texts(&["enabled"])),
        });
        LabelSelector {
            match_expressions: Some(
                asked_for
                    .into_iter()
                    .chain([is_served()])
                    .collect(),
            ),
            match_labels: None,
        }
    }
}

impl Condition {
    /// The name in the registration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HasDefaultImage => "has-default-image",
            Self::HasNoOwner => "has-no-owner",
            Self::HasPlaceholderOrOwner => "has-placeholder-or-owner",
            Self::IsMoreThanADeletion | Self::IsMoreThanADeletionOfAPod => {
                "is-more-than-a-deletion"
            }
            Self::IsNoMirrorPod => "is-no-mirror-pod",
        }
    }

    /// The condition in CEL, over `object` and `oldObject`.
    #[must_use]
    pub fn expression(self) -> String {
        match self {
            Self::HasDefaultImage => default_organisations()
                .into_iter()
                .map(|organisation| has_image(&format!("contains('{organisation}/')")))
                .collect::<Vec<_>>()
                .join("\n|| "),
            Self::HasNoOwner => format!("!{}", has_owner()),
            Self::HasPlaceholderOrOwner => {
                let host = Placeholder::image("");
                let has_placeholder = has_image(&format!("startsWith('{host}')"));
                format!("{}\n|| {has_placeholder}", has_owner())
            }
            Self::IsMoreThanADeletion => {
                "oldObject == null || !has(oldObject.metadata.deletionTimestamp)\n\
                 || !has(object.spec) || !has(oldObject.spec) || object.spec != oldObject.spec"
                    .to_owned()
            }
            Self::IsMoreThanADeletionOfAPod => format!(
                "oldObject == null || !has(oldObject.metadata.deletionTimestamp) || object.spec != oldObject.spec\n\
                 || ({})",
                loses_label()
            ),
            Self::IsNoMirrorPod => format!(
                "!has(object.metadata.annotations) || !('{MIRROR_POD_ANNOTATION}' in object.metadata.annotations)"
            ),
        }
    }
}

/// The organisations of the default images.
fn default_organisations() -> BTreeSet<&'static str> {
    rows()
        .filter_map(|row| row.repository?.split_once('/'))
        .map(|(organisation, _)| organisation)
        .collect()
}

/// CEL: a label of ours on the old pod is missing on the new one, or has another value.
pub(super) fn loses_label() -> String {
    format!(
        "has(oldObject.metadata.labels) && ['{AGENT_LABEL}', '{TOOL_LABEL}'].exists(l, l in oldObject.metadata.labels\n\
         && !(has(object.metadata.labels) && l in object.metadata.labels && object.metadata.labels[l] == oldObject.metadata.labels[l]))"
    )
}

/// CEL: the pod belongs to an Agent or a Tool, before or after the request.
fn has_owner() -> String {
    format!(
        "[object, oldObject].exists(o, o != null\n\
         && (has(o.metadata.labels) && ('{AGENT_LABEL}' in o.metadata.labels || '{TOOL_LABEL}' in o.metadata.labels)\n\
         || has(o.metadata.ownerReferences) && o.metadata.ownerReferences.exists(r, r.apiVersion.startsWith('{GROUP}/'))))"
    )
}

/// CEL: `call` is true for an image of the pod, as text.
fn has_image(call: &str) -> String {
    PodSlotKind::ALL
        .iter()
        .map(|kind| {
            let list = format!("object.spec.{}", kind.list());
            // A pod without containers has null here, and is refused later.
            let is_there = match kind {
                PodSlotKind::Container => format!("{list} != null"),
                _ => format!("has({list})"),
            };
            let image = kind.image();
            let answers = match kind.within() {
                None => format!("has(e.{image}) && e.{image}.{call}"),
                Some(within) => format!(
                    "has(e.{within}) && has(e.{within}.{image}) && e.{within}.{image}.{call}"
                ),
            };
            format!("({is_there} && {list}.exists(e, {answers}))")
        })
        .collect::<Vec<_>>()
        .join("\n|| ")
}
