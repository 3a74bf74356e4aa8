//! What a pod is made of, once as it stands there, and once as an Agent or a Tool would have it.
//!
//! This is a model of its own: of the manager's code it takes only which image is the default.

mod spec;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

pub(super) use self::spec::{agent_image, parts_of_spec, token};

use super::history::Kind;

/// Everything that a pod runs with, by the name of the part.
pub(super) type Parts = BTreeMap<&'static str, Value>;

/// How much of a pod admission has filled in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Filled {
    Everything,
    /// Of a pod that exists only the image can be changed.
    Images,
    Nothing,
}

impl Filled {
    pub(super) const ALL: [Self; 3] = [Self::Everything, Self::Images, Self::Nothing];
}

/// Every image of a pod, with its place.
pub(super) fn images(pod: &Value) -> Vec<(String, &str)> {
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    let containers = lists.into_iter().flat_map(|list| {
        items(pod, &format!("/spec/{list}")).filter_map(move |container| {
            let name = container.get("name")?.as_str()?;
            Some((format!("{list}/{name}"), container.get("image")?.as_str()?))
        })
    });
    let volumes = items(pod, "/spec/volumes").filter_map(|volume| {
        let name = volume.get("name")?.as_str()?;
        Some((
            format!("volumes/{name}"),
            volume
                .pointer("/image/reference")?
                .as_str()?,
        ))
    });
    containers.chain(volumes).collect()
}

/// The names of everything in its namespace that a pod gets, each with its kind.
pub(super) fn references(pod: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let account = pod
        .pointer("/spec/serviceAccountName")
        .and_then(Value::as_str);
    if let Some(account) = account.filter(|account| !["", "default"].contains(account)) {
        found.insert(format!("ServiceAccount {account}"));
    }
    for secret in items(pod, "/spec/imagePullSecrets") {
        insert(&mut found, "Secret", secret.get("name"));
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in items(pod, &format!("/spec/{list}")) {
            for variable in items(container, "/env") {
                insert(
                    &mut found,
                    "Secret",
                    variable.pointer("/valueFrom/secretKeyRef/name"),
                );
                insert(
                    &mut found,
                    "ConfigMap",
                    variable.pointer("/valueFrom/configMapKeyRef/name"),
                );
            }
            for source in items(container, "/envFrom") {
                insert(&mut found, "Secret", source.pointer("/secretRef/name"));
                insert(
                    &mut found,
                    "ConfigMap",
                    source.pointer("/configMapRef/name"),
                );
            }
        }
    }
    for volume in items(pod, "/spec/volumes") {
        // Every pod with a token of its account has it.
        let is_token = volume
            .get("name")
            .and_then(Value::as_str)
            .is_some_and(|name| name.starts_with("kube-api-access-"));
        if is_token {
            continue;
        }
        insert(&mut found, "Secret", volume.pointer("/secret/secretName"));
        insert(&mut found, "ConfigMap", volume.pointer("/configMap/name"));
        for source in items(volume, "/projected/sources") {
            insert(&mut found, "Secret", source.pointer("/secret/name"));
            insert(&mut found, "ConfigMap", source.pointer("/configMap/name"));
        }
    }
    found
}

fn insert(found: &mut BTreeSet<String>, kind: &str, name: Option<&Value>) {
    if let Some(name) = name.and_then(Value::as_str) {
        found.insert(format!("{kind} {name}"));
    }
}

/// The parts of a pod that stands there.
pub(super) fn parts_of_pod(kind: Kind, pod: &Value) -> Parts {
    let images: BTreeMap<_, _> = images(pod)
        .into_iter()
        .filter(|(place, _)| !place.starts_with("ephemeralContainers/"))
        .collect();
    let account = pod
        .pointer("/spec/serviceAccountName")
        .and_then(Value::as_str);
    let pull: Vec<_> = items(pod, "/spec/imagePullSecrets")
        .filter_map(|secret| secret.get("name"))
        .collect();
    // The API server adds two to every pod.
    let tolerations: Vec<_> = items(pod, "/spec/tolerations")
        .filter(|toleration| {
            toleration
                .get("key")
                .and_then(Value::as_str)
                .is_none_or(|key| !key.starts_with("node.kubernetes.io/"))
        })
        .collect();
    let main = container(
        pod,
        "containers",
        match kind {
            Kind::Agent => "agent",
            Kind::Tool => "tool",
        },
    );
    let mut references = references(pod);
    for debug in items(pod, "/spec/ephemeralContainers") {
        let alone = json!({"spec": {"ephemeralContainers": [debug]}});
        for reference in self::references(&alone) {
            references.remove(&reference);
        }
    }
    Parts::from([
        (
            "account",
            json!(
                account
                    .filter(|name| !name.is_empty())
                    .unwrap_or("default")
            ),
        ),
        ("images", json!(images)),
        ("main variables", variables(main)),
        (
            "other variables",
            variables(container(pod, "initContainers", "agentlet")),
        ),
        (
            "nodeSelector",
            pod.pointer("/spec/nodeSelector")
                .cloned()
                .unwrap_or(json!({})),
        ),
        (
            "probe",
            main.and_then(|main| main.pointer("/readinessProbe/tcpSocket/port"))
                .cloned()
                .unwrap_or_default(),
        ),
        ("pull secrets", json!(pull)),
        ("references", json!(references)),
        (
            "requests",
            main.and_then(|main| main.pointer("/resources/requests"))
                .cloned()
                .unwrap_or(json!({})),
        ),
        ("tolerations", json!(tolerations)),
    ])
}

/// The variables of a container: a text, or where it comes from.
pub(super) fn variables(container: Option<&Value>) -> Value {
    let variables: BTreeMap<_, _> = container
        .into_iter()
        .flat_map(|container| items(container, "/env"))
        .filter_map(|variable| {
            let value = variable
                .get("valueFrom")
                .or_else(|| variable.get("value"))
                .cloned()
                .unwrap_or(json!(""));
            Some((variable.get("name")?.as_str()?, value))
        })
        .collect();
    json!(variables)
}

/// A container of a list by its name.
pub(super) fn container<'p>(pod: &'p Value, list: &str, name: &str) -> Option<&'p Value> {
    items(pod, &format!("/spec/{list}")).find(|container| {
        container
            .get("name")
            .is_some_and(|found| found == name)
    })
}

/// The items of a list; none where there is no list.
pub(super) fn items<'v>(
    value: &'v Value,
    pointer: &str,
) -> impl Iterator<Item = &'v Value> + use<'v> {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}
