//! Users who may do exactly what they were given.

use agentkube_playground::until;
use anyhow::Context;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, LIMIT, Namespace};

/// What every author needs.
pub(crate) fn writes_agents() -> Value {
    json!({
        "apiGroups": ["agentkube.io"],
        "resources": ["agents", "tools"],
        "verbs": ["create", "get", "patch", "update"],
    })
}

/// A right to some verbs on a resource of the core group.
pub(crate) fn may(verb: &str, resource: &str) -> Value {
    json!({"apiGroups": [""], "resources": [resource], "verbs": [verb]})
}

/// The same, limited to one object.
pub(crate) fn may_one(verb: &str, resource: &str, name: &str) -> Value {
    json!({"apiGroups": [""], "resources": [resource], "verbs": [verb], "resourceNames": [name]})
}

/// A namespace in the eyes of one of its users.
pub(crate) struct User {
    pub(crate) name: String,
    /// The namespace, with this user's client.
    pub(crate) sees: Namespace,
    admin: Namespace,
}

impl User {
    /// A user who may do this in the namespace, and nothing else.
    pub(crate) async fn new(
        cluster: &Cluster,
        ns: &Namespace,
        word: &str,
        rules: &[Value],
    ) -> anyhow::Result<Self> {
        let name = format!("{word}@{}", ns.name);
        let mut config = cluster.control_plane.config();
        config.auth_info.impersonate = Some(name.clone());
        let user = Self {
            name,
            sees: Namespace {
                client: Client::try_from(config)?,
                name: ns.name.clone(),
            },
            admin: ns.clone(),
        };
        user.grant(word, rules).await?;
        Ok(user)
    }

    /// Gives the user more rights, and waits until the API server knows of them.
    pub(crate) async fn grant(&self, role: &str, rules: &[Value]) -> anyhow::Result<()> {
        self.admin
            .create(&json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                "metadata": {"name": role}, "rules": rules,
            }))
            .await?;
        self.admin
            .create(&json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {"name": role},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
                "subjects": [{
                    "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": self.name,
                }],
            }))
            .await?;
        let last = rules.last().context("a rule")?;
        let first = |member: &str| {
            last[member][0]
                .as_str()
                .map(str::to_owned)
        };
        let mut asked = ResourceAttributes {
            group: first("apiGroups"),
            name: first("resourceNames"),
            namespace: Some(self.admin.name.clone()),
            resource: first("resources"),
            verb: first("verbs"),
            ..ResourceAttributes::default()
        };
        // A subresource stands behind its resource in a rule, and apart from it in a question.
        if let Some((resource, subresource)) = asked
            .resource
            .as_deref()
            .and_then(|resource| resource.split_once('/'))
        {
            asked.subresource = Some(subresource.to_owned());
            asked.resource = Some(resource.to_owned());
        }
        until("the rights to be known", LIMIT, async || {
            Ok(is_allowed(&self.sees.client, &asked)
                .await?
                .then_some(()))
        })
        .await
    }

    /// Removes an object of this name and of the kind of `object`, so that the next one can be created.
    pub(crate) async fn admin_deletes(&self, name: &str, object: &Value) -> anyhow::Result<()> {
        let kind = object["kind"]
            .as_str()
            .context("the object has a kind")?;
        self.admin.delete(kind, name).await?;
        self.admin.wait_gone(kind, name).await
    }
}

/// Whether whose client this is may do something, in the API server's own words.
pub(crate) async fn is_allowed(
    client: &Client,
    asked: &ResourceAttributes,
) -> anyhow::Result<bool> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(asked.clone()),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = Api::<SelfSubjectAccessReview>::all(client.clone())
        .create(&PostParams::default(), &review)
        .await?;
    Ok(answer
        .status
        .is_some_and(|status| status.allowed))
}
