use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{
    authentication::v1::SelfSubjectReview,
    authorization::v1::{
        ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
        SubjectAccessReview, SubjectAccessReviewSpec,
    },
};
use kube::{Api, Client, api::PostParams};

use super::{CheckFinding, Installation};
use crate::{
    admission::{AGENT_POLICY, OWNERSHIP_POLICY, TOOL_POLICY},
    api::MANAGER,
    leader::LEASE,
    server::certificates::secret,
    telemetry::CheckKind,
};

/// Concurrent access reviews.
const AT_A_TIME: usize = 8;

/// The resource that only `--metrics-authorization` needs, and that the base does not grant.
const TOKEN_REVIEWS: &str = "tokenreviews";

/// A right that a manager needs: group, resource, verbs, the object's name, and the purpose.
struct Permission {
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    name: &'static str,
    scope: PermissionScope,
    need: Need,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum PermissionScope {
    Cluster,
    Own,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Need {
    Always,
    MetricsAuthorization,
    OwnCertificates,
    References,
}

const RIGHTS: [Permission; 21] = [
    everywhere("agentkube.io", "agents", &["get", "list", "watch"]),
    everywhere("agentkube.io", "tools", &["get", "list", "watch"]),
    everywhere("agentkube.io", "agents/status", &["patch"]),
    everywhere("agentkube.io", "tools/status", &["patch"]),
    everywhere(
        "agentkube.io",
        "rejections",
        &["get", "list", "watch", "create", "update", "delete"],
    ),
    everywhere("", "pods", &["get", "list", "watch", "create"]),
    everywhere("events.k8s.io", "events", &["create", "patch"]),
    Permission {
        need: Need::References,
        ..everywhere("authorization.k8s.io", "subjectaccessreviews", &["create"])
    },
    Permission {
        need: Need::MetricsAuthorization,
        ..everywhere("authentication.k8s.io", TOKEN_REVIEWS, &["create"])
    },
    registrations("mutatingwebhookconfigurations"),
    registrations("validatingwebhookconfigurations"),
    policy("validatingadmissionpolicies", AGENT_POLICY),
    policy("validatingadmissionpolicies", TOOL_POLICY),
    policy("validatingadmissionpolicies", OWNERSHIP_POLICY),
    policy("validatingadmissionpolicybindings", AGENT_POLICY),
    policy("validatingadmissionpolicybindings", TOOL_POLICY),
    policy("validatingadmissionpolicybindings", OWNERSHIP_POLICY),
    Permission {
        scope: PermissionScope::Own,
        need: Need::OwnCertificates,
        ..everywhere("", "secrets", &["create"])
    },
    Permission {
        scope: PermissionScope::Own,
        name: secret::NAME,
        need: Need::OwnCertificates,
        ..everywhere("", "secrets", &["get", "list", "watch", "update"])
    },
    Permission {
        scope: PermissionScope::Own,
        ..everywhere("coordination.k8s.io", "leases", &["create"])
    },
    Permission {
        scope: PermissionScope::Own,
        name: LEASE,
        ..everywhere("coordination.k8s.io", "leases", &["get", "update"])
    },
];

const fn everywhere(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
) -> Permission {
    Permission {
        group,
        resource,
        verbs,
        name: "",
        scope: PermissionScope::Cluster,
        need: Need::Always,
    }
}

const fn registrations(resource: &'static str) -> Permission {
    Permission {
        name: MANAGER,
        need: Need::OwnCertificates,
        ..everywhere(
            "admissionregistration.k8s.io",
            resource,
            &["list", "watch", "patch"],
        )
    }
}

const fn policy(resource: &'static str, name: &'static str) -> Permission {
    Permission {
        name,
        ..everywhere("admissionregistration.k8s.io", resource, &["get"])
    }
}

/// Checks that the manager has its rights. A ServiceAccount of a pod is checked itself; any other user
/// checks the manager's account.
pub(super) async fn look(client: &Client, subject: &Installation) -> CheckFinding {
    match missing(client, subject).await {
        Ok((user, missing)) if missing.is_empty() => CheckFinding::ok(
            CheckKind::Permissions,
            format!("`{user}` has all required permissions"),
        ),
        Ok((user, missing)) => CheckFinding::error(
            CheckKind::Permissions,
            format!(
                "`{user}` may not {} (hint: {})",
                missing.join(", "),
                hint(&missing)
            ),
        ),
        Err(error) => CheckFinding::skipped(
            CheckKind::Permissions,
            format!("they cannot be checked: {error}"),
        ),
    }
}

/// The manifests that grant the missing rights.
fn hint(missing: &[String]) -> String {
    let restored = "`kubectl apply -k manifests/` restores them";
    let brought = format!(
        "the component `metrics-authorization`, or `metricsAuthorization: true` in Helm, grants {}",
        if missing.len() > 1 {
            TOKEN_REVIEWS
        } else {
            "them"
        }
    );
    let is_brought = |right: &&String| right.ends_with(TOKEN_REVIEWS);
    match missing
        .iter()
        .filter(is_brought)
        .count()
    {
        0 => restored.to_owned(),
        some if some == missing.len() => brought,
        _ => format!("{restored}; {brought}"),
    }
}

async fn missing(
    client: &Client,
    subject: &Installation,
) -> Result<(String, Vec<String>), kube::Error> {
    let me = Api::<SelfSubjectReview>::all(client.clone())
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await?
        .status
        .and_then(|status| status.user_info)
        .and_then(|user| user.username)
        .unwrap_or_default();
    let account = subject.account();
    let is_account = me.starts_with("system:serviceaccount:");
    let mut questions = Vec::new();
    for right in RIGHTS
        .iter()
        .filter(|right| right.is_needed(subject))
    {
        for verb in right.verbs {
            let attributes = right.attributes(verb, &subject.namespace);
            questions.push((attributes, right.in_words(verb)));
        }
    }
    let missing = stream::iter(questions)
        .map(|(attributes, words)| {
            let client = client.clone();
            let (account, namespace) = (account.clone(), subject.namespace.clone());
            async move {
                let is_allowed = if is_account {
                    may_i(&client, attributes).await?
                } else {
                    may_account(&client, &account, &namespace, attributes).await?
                };
                Ok::<_, kube::Error>((!is_allowed).then_some(words))
            }
        })
        .buffered(AT_A_TIME)
        .try_filter_map(async |missing| Ok(missing))
        .try_collect()
        .await?;
    Ok((if is_account { me } else { account.clone() }, missing))
}

async fn may_i(client: &Client, attributes: ResourceAttributes) -> Result<bool, kube::Error> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = Api::all(client.clone())
        .create(&PostParams::default(), &review)
        .await?;
    Ok(answer
        .status
        .is_some_and(|status| status.allowed))
}

async fn may_account(
    client: &Client,
    account: &str,
    namespace: &str,
    attributes: ResourceAttributes,
) -> Result<bool, kube::Error> {
    let groups = [
        "system:authenticated".to_owned(),
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
    ];
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(account.to_owned()),
            groups: Some(groups.to_vec()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let answer = Api::all(client.clone())
        .create(&PostParams::default(), &review)
        .await?;
    Ok(answer
        .status
        .is_some_and(|status| status.allowed))
}

impl Permission {
    fn is_needed(&self, subject: &Installation) -> bool {
        match self.need {
            Need::Always => true,
            Need::MetricsAuthorization => subject.authorizes_metrics,
            Need::OwnCertificates => subject.tls_dir.is_none(),
            Need::References => subject.authorizes_references || subject.authorizes_metrics,
        }
    }

    fn attributes(&self, verb: &str, namespace: &str) -> ResourceAttributes {
        let (resource, subresource) = self
            .resource
            .split_once('/')
            .unwrap_or((self.resource, ""));
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        ResourceAttributes {
            group: some(self.group),
            name: some(self.name),
            namespace: some(namespace).filter(|_| self.scope == PermissionScope::Own),
            resource: some(resource),
            subresource: some(subresource),
            verb: some(verb),
            ..ResourceAttributes::default()
        }
    }

    fn in_words(&self, verb: &str) -> String {
        let name = if self.name.is_empty() {
            String::new()
        } else {
            format!(" `{}`", self.name)
        };
        format!("{verb} {}{name}", self.resource)
    }
}
