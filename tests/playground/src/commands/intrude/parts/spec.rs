use std::collections::{BTreeMap, BTreeSet};

use agentkube::images::{Component, ImageSettings, Runtime, own_image, resolve};
use serde_json::{Value, json};

use super::{Filled, Parts, insert, items};
use crate::commands::intrude::history::Kind;

/// The parts that a pod of this spec has.
pub(crate) fn parts_of_spec(
    kind: Kind,
    name: &str,
    namespace: &str,
    spec: &Value,
    filled: Filled,
    settings: &ImageSettings,
) -> Parts {
    let mut parts = match kind {
        Kind::Agent => agent_parts(name, namespace, spec, filled, settings),
        Kind::Tool => tool_parts(name, spec, filled),
    };
    let mut references = references_of(kind, spec);
    if kind == Kind::Agent && filled != Filled::Everything {
        let unfilled = json!({
            "goal": spec.get("goal"), "serviceAccountName": spec.get("serviceAccountName"),
        });
        references = references_of(kind, &unfilled);
    }
    parts.insert("references", json!(references));
    parts
}

/// The image of an Agent.
pub(crate) fn agent_image(spec: &Value, settings: &ImageSettings) -> Option<String> {
    let runtime: Runtime = spec
        .get("runtime")?
        .as_str()?
        .parse()
        .ok()?;
    let own = spec
        .get("image")
        .and_then(Value::as_str);
    match own_image(own) {
        Ok(own) => Some(
            resolve(runtime.component(), own, settings)?
                .image
                .into(),
        ),
        // Nobody refuses it while the webhooks are away.
        Err(_) => own.map(str::to_owned),
    }
}

/// The variable of the agent's container that brings the token.
pub(crate) fn token(spec: &Value) -> Option<(String, Value)> {
    let runtime: Runtime = spec
        .get("runtime")?
        .as_str()?
        .parse()
        .ok()?;
    let secret = spec.pointer("/agentToken/secretRef")?;
    let source = json!({"secretKeyRef": {"name": secret.get("name"), "key": secret.get("key")}});
    Some((runtime.token()?.to_owned(), source))
}

fn agent_parts(
    name: &str,
    namespace: &str,
    spec: &Value,
    filled: Filled,
    settings: &ImageSettings,
) -> Parts {
    let image = |component| resolve(component, None, settings).map(|found| found.image.into());
    let or_placeholder = |image: Option<String>, container: &str| match filled {
        Filled::Everything | Filled::Images => json!(image),
        Filled::Nothing => json!(format!("agentkube.invalid/{container}")),
    };
    let mut images = BTreeMap::from([
        (
            "containers/agent",
            or_placeholder(agent_image(spec, settings), "agent"),
        ),
        (
            "initContainers/agentlet",
            or_placeholder(image(Component::Agentlet), "agentlet"),
        ),
    ]);
    if spec.pointer("/sessionRecording/enabled") == Some(&Value::Bool(true)) {
        let recorder = or_placeholder(image(Component::SessionRecorder), "session-recorder");
        images.insert("initContainers/session-recorder", recorder);
    }
    let is_filled = filled == Filled::Everything;
    let token: BTreeMap<_, _> = token(spec)
        .into_iter()
        .filter(|_| is_filled)
        .collect();
    let pull: Vec<_> = items(spec, "/imagePullSecrets")
        .filter(|_| is_filled)
        .filter_map(|secret| secret.get("name"))
        .collect();
    let text = |field: &str| {
        spec.get(field)
            .cloned()
            .unwrap_or_default()
    };
    let mut variables = BTreeMap::from([
        ("AGENTKUBE_AGENT_NAME", json!(name)),
        ("AGENTKUBE_AGENT_NAMESPACE", json!(namespace)),
        ("AGENTKUBE_AGENT_RUNTIME", text("runtime")),
        ("AGENTKUBE_AGENT_MODE", text("mode")),
    ]);
    if let Some(model) = spec.pointer("/model/name") {
        variables.insert("AGENTKUBE_AGENT_MODEL_NAME", model.clone());
    }
    if let Some(goal) = spec.pointer("/goal/inline") {
        variables.insert("AGENTKUBE_AGENT_GOAL", goal.clone());
    }
    if let Some(goal) = spec.pointer("/goal/configMapKeyRef") {
        let source = json!({"configMapKeyRef": {"name": goal.get("name"), "key": goal.get("key")}});
        variables.insert("AGENTKUBE_AGENT_GOAL", source);
    }
    let tools: Vec<_> = items(spec, "/tools")
        .filter_map(|tool| tool.get("name")?.as_str())
        .collect();
    if !tools.is_empty() {
        variables.insert("AGENTKUBE_AGENT_TOOLS", json!(tools.join(",")));
    }
    Parts::from([
        (
            "account",
            spec.get("serviceAccountName")
                .cloned()
                .unwrap_or(json!("default")),
        ),
        ("images", json!(images)),
        ("main variables", json!(token)),
        ("other variables", json!(variables)),
        (
            "nodeSelector",
            spec.get("nodeSelector")
                .cloned()
                .unwrap_or(json!({})),
        ),
        ("probe", Value::Null),
        ("pull secrets", json!(pull)),
        (
            "requests",
            spec.pointer("/resources/requests")
                .cloned()
                .unwrap_or(json!({})),
        ),
        (
            "tolerations",
            spec.get("tolerations")
                .cloned()
                .unwrap_or(json!([])),
        ),
    ])
}

fn tool_parts(name: &str, spec: &Value, filled: Filled) -> Parts {
    let image = match filled {
        Filled::Everything | Filled::Images => spec
            .get("image")
            .cloned()
            .unwrap_or_default(),
        Filled::Nothing => json!(Kind::Tool.placeholder()),
    };
    let mut variables = BTreeMap::from([
        ("AGENTKUBE_TOOL_NAME", json!(name)),
        (
            "AGENTKUBE_TOOL_TYPE",
            spec.get("type")
                .cloned()
                .unwrap_or_default(),
        ),
        (
            "AGENTKUBE_TOOL_IDLE_TIMEOUT",
            spec.get("idleTimeout")
                .cloned()
                .unwrap_or_default(),
        ),
    ]);
    if let Some(host) = spec.pointer("/config/hostname") {
        variables.insert("AGENTKUBE_TOOL_HOSTNAME", host.clone());
    }
    if let Some(secret) = spec.pointer("/config/credentialsRef") {
        let source =
            json!({"secretKeyRef": {"name": secret.get("name"), "key": secret.get("key")}});
        variables.insert("AGENTKUBE_TOOL_CREDENTIALS", source);
    }
    Parts::from([
        ("account", json!("default")),
        ("images", json!({"containers/tool": image})),
        ("main variables", json!(variables)),
        ("other variables", json!({})),
        ("nodeSelector", json!({})),
        (
            "probe",
            spec.pointer("/probe/tcpSocket/port")
                .cloned()
                .unwrap_or_default(),
        ),
        ("pull secrets", json!([])),
        ("requests", json!({})),
        ("tolerations", json!([])),
    ])
}

/// The names of everything that an Agent or a Tool refers to.
fn references_of(kind: Kind, spec: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    match kind {
        Kind::Agent => {
            insert(
                &mut found,
                "Secret",
                spec.pointer("/agentToken/secretRef/name"),
            );
            insert(
                &mut found,
                "ConfigMap",
                spec.pointer("/goal/configMapKeyRef/name"),
            );
            insert(&mut found, "ServiceAccount", spec.get("serviceAccountName"));
            for secret in items(spec, "/imagePullSecrets") {
                insert(&mut found, "Secret", secret.get("name"));
            }
        }
        Kind::Tool => insert(
            &mut found,
            "Secret",
            spec.pointer("/config/credentialsRef/name"),
        ),
    }
    found
}
