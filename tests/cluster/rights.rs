//! What the manager's ServiceAccount may do, tried verb by verb on everything that the API server
//! serves.

use std::collections::BTreeSet;

use anyhow::ensure;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};
use serde_json::json;

use crate::{
    cluster::Cluster,
    harness::{Test, tests},
    users::is_allowed,
};

pub(crate) fn tests() -> Vec<Test> {
    tests![Manager: the_manager_may_do_what_the_threat_model_lists_and_nothing_else]
}

/// What is tried of the manager's account. `*` is a right to all of them.
const VERBS: [&str; 14] = [
    "*",
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "impersonate",
    "bind",
    "escalate",
    "approve",
    "use",
];

/// What Kubernetes itself lets every ServiceAccount read since 1.37: certificates of authorities, for everybody to trust.
const EVERYBODYS: &str = "certificates.k8s.io/clustertrustbundles";

/// How that may be read.
const READING: [&str; 3] = ["get", "list", "watch"];

/// Resources that no discovery lists, but authorizers know.
const UNLISTED: [&str; 10] = [
    "/groups",
    "/nodes/metrics",
    "/nodes/proxy",
    "/users",
    "*/*",
    "agentkube.io/agents/finalizers",
    "agentkube.io/tools/finalizers",
    "apiextensions.k8s.io/customresourcedefinitions/finalizers",
    "authentication.k8s.io/userextras/scopes",
    "certificates.k8s.io/signers",
];

/// The namespaces in which the manager is tried: its own, others, and all of them at once.
const PLACES: [&str; 4] = ["agentkube-system", "kube-system", "default", ""];

/// The names of objects with which it is tried; blank is any.
const NAMES: [&str; 5] = [
    "",
    "agentkube-agent-references",
    "agentkube-manager",
    "agentkube-webhook-tls",
    "other",
];

/// What the manager may do: `resource: verbs`, where, and on which object.
const RIGHTS: [(&str, &str, Place, Named); 20] = [
    (
        "agentkube.io/agents",
        "get list watch",
        Place::Any,
        Named::Any,
    ),
    (
        "agentkube.io/tools",
        "get list watch",
        Place::Any,
        Named::Any,
    ),
    (
        "agentkube.io/agents/status",
        "patch",
        Place::Any,
        Named::Any,
    ),
    ("agentkube.io/tools/status", "patch", Place::Any, Named::Any),
    (
        "agentkube.io/agents/finalizers",
        "update",
        Place::Any,
        Named::Any,
    ),
    (
        "agentkube.io/tools/finalizers",
        "update",
        Place::Any,
        Named::Any,
    ),
    (
        "agentkube.io/rejections",
        "get list watch create update delete",
        Place::Any,
        Named::Any,
    ),
    ("/pods", "get list watch create", Place::Any, Named::Any),
    (
        "events.k8s.io/events",
        "create patch",
        Place::Any,
        Named::Any,
    ),
    (
        "authorization.k8s.io/subjectaccessreviews",
        "create",
        Place::Any,
        Named::Any,
    ),
    (
        "admissionregistration.k8s.io/mutatingwebhookconfigurations",
        "list watch patch",
        Place::Any,
        Named::Only("agentkube-manager"),
    ),
    (
        "admissionregistration.k8s.io/validatingwebhookconfigurations",
        "list watch patch",
        Place::Any,
        Named::Only("agentkube-manager"),
    ),
    (
        "admissionregistration.k8s.io/validatingadmissionpolicies",
        "get",
        Place::Any,
        Named::Only("agentkube-agent-references"),
    ),
    (
        "admissionregistration.k8s.io/validatingadmissionpolicybindings",
        "get",
        Place::Any,
        Named::Only("agentkube-agent-references"),
    ),
    ("/secrets", "create", Place::Own, Named::Any),
    (
        "/secrets",
        "get list watch update",
        Place::Own,
        Named::Only("agentkube-webhook-tls"),
    ),
    (
        "coordination.k8s.io/leases",
        "create",
        Place::Own,
        Named::Any,
    ),
    (
        "coordination.k8s.io/leases",
        "get update",
        Place::Own,
        Named::Only("agentkube-manager"),
    ),
    // Everybody who is authenticated may ask about themselves.
    (
        "authorization.k8s.io/self*",
        "create",
        Place::Any,
        Named::Any,
    ),
    (
        "authentication.k8s.io/self*",
        "create",
        Place::Any,
        Named::Any,
    ),
];

#[derive(Clone, Copy)]
enum Place {
    Any,
    Own,
}

#[derive(Clone, Copy)]
enum Named {
    Any,
    Only(&'static str),
}

/// Whether the list gives a right.
fn is_listed(resource: &str, verb: &str, place: &str, name: &str) -> bool {
    RIGHTS
        .iter()
        .any(|(listed, verbs, listed_place, named)| {
            let is_resource = match listed.strip_suffix('*') {
                Some(start) => resource.starts_with(start),
                None => resource == *listed,
            };
            let is_place = matches!(listed_place, Place::Any) || place == "agentkube-system";
            let is_named = match named {
                Named::Any => true,
                Named::Only(only) => name == *only,
            };
            is_resource
                && is_place
                && is_named
                && verbs
                    .split(' ')
                    .any(|listed| listed == verb)
        })
}

async fn the_manager_may_do_what_the_threat_model_lists_and_nothing_else(
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let manager = manager_client(cluster).await?;
    let mut resources = served(&cluster.client()).await?;
    for (listed, ..) in RIGHTS {
        ensure!(
            listed.ends_with('*') || UNLISTED.contains(&listed) || resources.contains(listed),
            "{listed} is not served, so that nothing is shown of it"
        );
    }
    resources.extend(UNLISTED.map(str::to_owned));
    let tried = resources.iter().flat_map(|resource| {
        // Names matter only to resources of which some object is ours.
        let names = RIGHTS
            .iter()
            .any(|(listed, _, _, named)| listed == resource && matches!(named, Named::Only(_)));
        let names = if names { NAMES.as_slice() } else { &NAMES[..1] };
        PLACES.iter().flat_map(move |place| {
            names.iter().flat_map(move |name| {
                VERBS
                    .iter()
                    .map(move |verb| (resource.clone(), *verb, *place, *name))
            })
        })
    });
    let wrong: Vec<_> = stream::iter(tried)
        .map(|(resource, verb, place, name)| {
            let manager = manager.clone();
            async move {
                let has = is_allowed(&manager, &asked(&resource, verb, place, name)).await?;
                let wants = is_listed(&resource, verb, place, name);
                let is_everybodys = has && resource == EVERYBODYS && READING.contains(&verb);
                anyhow::Ok((has != wants && !is_everybodys).then(|| {
                    let word = if has { "has too much" } else { "lacks" };
                    format!("{word}: {verb} {resource} {name:?} in {place:?}")
                }))
            }
        })
        .buffer_unordered(32)
        .try_filter_map(async |wrong| Ok(wrong))
        .try_collect()
        .await?;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));

    for path in [
        "/metrics",
        "/logs",
        "/debug/pprof/",
        "/configz",
        "/flagz",
        "/statusz",
        "*",
    ] {
        ensure!(
            !may_read(&manager, path).await?,
            "the manager may read {path}"
        );
    }
    Ok(())
}

/// A client with a token of the manager's account.
async fn manager_client(cluster: &Cluster) -> anyhow::Result<Client> {
    let arguments = [
        "create",
        "token",
        "agentkube-manager",
        "--namespace",
        "agentkube-system",
    ];
    let said = cluster.kubectl(&arguments, "").await?;
    ensure!(said.success, "{}", said.stderr);
    let mut config = cluster.control_plane.config();
    config.auth_info = serde_json::from_value(json!({"token": said.stdout.trim()}))?;
    Ok(Client::try_from(config)?)
}

/// Every resource and subresource that the API server serves, as `group/resource`.
async fn served(client: &Client) -> anyhow::Result<BTreeSet<String>> {
    let mut resources = BTreeSet::new();
    for resource in client
        .list_core_api_resources("v1")
        .await?
        .resources
    {
        resources.insert(format!("/{}", resource.name));
    }
    for group in client.list_api_groups().await?.groups {
        for version in group.versions {
            let listed = client
                .list_api_group_resources(&version.group_version)
                .await?;
            for resource in listed.resources {
                resources.insert(format!("{}/{}", group.name, resource.name));
            }
        }
    }
    Ok(resources)
}

fn asked(resource: &str, verb: &str, place: &str, name: &str) -> ResourceAttributes {
    let (group, resource) = resource
        .split_once('/')
        .unwrap_or(("", resource));
    let (resource, subresource) = resource
        .split_once('/')
        .unwrap_or((resource, ""));
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    ResourceAttributes {
        group: some(group),
        name: some(name),
        namespace: some(place),
        resource: some(resource),
        subresource: some(subresource),
        verb: some(verb),
        ..ResourceAttributes::default()
    }
}

async fn may_read(client: &Client, path: &str) -> anyhow::Result<bool> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            non_resource_attributes: Some(NonResourceAttributes {
                path: Some(path.to_owned()),
                verb: Some("get".to_owned()),
            }),
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
