//! The ground that an episode is played on: made before it, and cleared behind it.

use std::time::Duration;

use agentkube_playground::ControlPlane;
use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    cast::{Cast, OWN, Role, VICTIM},
    hands::{Hands, items},
    moves::Place,
};

/// How long it may take until everything is deleted.
const CLEAR: Duration = Duration::from_secs(300);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Until the API server knows of a right.
const RIGHTS: Duration = Duration::from_secs(30);

pub(super) const AGENTS: Place = Place {
    api: "/apis/agentkube.io/v1alpha1",
    resource: "agents",
    name: "",
    subresource: "",
};
const TOOLS: Place = Place {
    resource: "tools",
    ..AGENTS
};
pub(super) const PODS: Place = Place {
    api: "/api/v1",
    resource: "pods",
    name: "",
    subresource: "",
};
const DEPLOYMENTS: Place = Place {
    api: "/apis/apps/v1",
    resource: "deployments",
    name: "",
    subresource: "",
};
const REPLICA_SETS: Place = Place {
    resource: "replicasets",
    ..DEPLOYMENTS
};

/// Creates the `ClusterRole` objects that everybody is given later.
pub(super) async fn create_roles(control_plane: &ControlPlane) -> anyhow::Result<()> {
    for role in Role::ALL {
        let body = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": role.cluster_role()}, "rules": role.rules(),
        });
        post(
            &control_plane.client(),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            &body,
        )
        .await?;
    }
    Ok(())
}

/// Creates the namespace, its accounts and the rights of everybody.
pub(super) async fn set_up(
    client: &kube::Client,
    namespace: &str,
    cast: &Cast,
) -> anyhow::Result<()> {
    post(
        client,
        "/api/v1/namespaces",
        &json!({"metadata": {"name": namespace}}),
    )
    .await?;
    for name in ["default", OWN, VICTIM] {
        let account = json!({"metadata": {"name": name}});
        post(
            client,
            &format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
            &account,
        )
        .await?;
    }
    for (number, member) in cast.0.iter().enumerate() {
        for role in &member.roles {
            let binding = json!({
                "metadata": {"name": format!("{}-{number}", role.word())},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role.cluster_role()},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": member.user}],
            });
            let path =
                format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings");
            post(client, &path, &binding).await?;
        }
    }
    // Rights are learnt in the order in which they are given.
    let Some(last) = cast.0.last() else {
        return Ok(());
    };
    let role = last
        .roles
        .last()
        .context("everybody has a role")?;
    let rules = role.rules();
    let first = |member: &str| {
        rules
            .pointer(&format!("/0/{member}/0"))
            .and_then(Value::as_str)
    };
    let (resource, subresource) = first("resources").map_or(("", ""), |resource| {
        resource
            .split_once('/')
            .unwrap_or((resource, ""))
    });
    let review = json!({"spec": {"user": last.user, "resourceAttributes": {
        "namespace": namespace, "group": first("apiGroups"), "resource": resource, "subresource": subresource,
        "verb": first("verbs"),
    }}});
    let end = Instant::now() + RIGHTS;
    while Instant::now() < end {
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let answer = post(client, path, &review).await?;
        if answer.pointer("/status/allowed") == Some(&Value::Bool(true)) {
            return Ok(());
        }
        sleep(PAUSE).await;
    }
    bail!("the rights of {} are not known", last.user)
}

/// Creates an object; one that is there already will do.
async fn post(client: &kube::Client, path: &str, body: &Value) -> anyhow::Result<Value> {
    let request = http::Request::post(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into_bytes())?;
    match client.request(request).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(Value::Null),
        answer => Ok(answer?),
    }
}

/// Deletes everything, so that no more pods come.
pub(super) async fn clear(admin: &Hands) -> anyhow::Result<()> {
    let end = Instant::now() + CLEAR;
    while Instant::now() < end {
        // What is refused now is tried again.
        if clear_once(admin)
            .await
            .unwrap_or_default()
        {
            return Ok(());
        }
        sleep(PAUSE).await;
    }
    bail!("there are still objects")
}

/// Says whether there was nothing.
async fn clear_once(admin: &Hands) -> anyhow::Result<bool> {
    let mut is_clear = true;
    for place in [DEPLOYMENTS, REPLICA_SETS, AGENTS, TOOLS, PODS] {
        let list = admin.get(place).await?;
        for object in items(&list)? {
            is_clear = false;
            let name = object
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            admin.remove(place, name).await;
        }
    }
    Ok(is_clear)
}
