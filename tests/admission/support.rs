//! A vocabulary for reviews.

use agentkube::{
    admission::{
        AgentFacts, AuthorRights, Creation, Decision, Owners, Policy, Review, ToolFacts,
        Unreadable, Webhook, answer, decide,
    },
    api::{Agent, Tool},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// A review of a request, as an API server sends it.
pub(crate) fn review(
    resource: &str,
    operation: &str,
    object: &Value,
    old: Option<&Value>,
) -> Value {
    let (group, kind) = match resource {
        "agents" => ("agentkube.io", "Agent"),
        "tools" => ("agentkube.io", "Tool"),
        _ => ("", "Pod"),
    };
    let (resource, sub_resource) = resource
        .split_once('/')
        .unwrap_or((resource, ""));
    let version = if group.is_empty() { "v1" } else { "v1alpha1" };
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "6b2f2a2e-0000-4000-8000-000000000001",
            "kind": {"group": group, "version": version, "kind": kind},
            "resource": {"group": group, "version": version, "resource": resource},
            "subResource": sub_resource,
            "name": object["metadata"]["name"].as_str().unwrap_or_default(),
            "namespace": "team",
            "operation": operation,
            "userInfo": {"username": "ada", "groups": ["system:authenticated"]},
            "object": object,
            "oldObject": old.unwrap_or(&Value::Null),
            "dryRun": false,
        }
    })
}

/// The objects and settings that a decision is made with.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) agent: Option<AgentFacts>,
    pub(crate) tool: Option<ToolFacts>,
    pub(crate) policy: Policy,
}

impl World {
    pub(crate) fn with_env(variables: &[(&str, &str)]) -> Self {
        let policy = Policy::parse(variables.iter().copied()).expect("the settings are legal");
        Self {
            policy,
            ..Self::default()
        }
    }

    pub(crate) fn agent(mut self, spec: &Value) -> Self {
        let agent: Agent = object("Agent", "bot", spec);
        self.agent = Some((&agent).into());
        self
    }

    pub(crate) fn tool(mut self, spec: &Value) -> Self {
        let tool: Tool = object("Tool", "browser", spec);
        self.tool = Some((&tool).into());
        self
    }

    /// The response of one webhook.
    pub(crate) fn ask(&self, webhook: Webhook, review: &Value) -> Value {
        let answer = self.answer(webhook, review.to_string().as_bytes());
        let answer: Value = serde_json::from_slice(&answer).expect("the answer is JSON");
        answer["response"].clone()
    }

    /// The answer of one webhook, as it is sent.
    pub(crate) fn answer(&self, webhook: Webhook, body: &[u8]) -> Vec<u8> {
        match Review::parse(body) {
            Ok(review) => {
                let owners = Owners {
                    agent: self.agent.as_ref(),
                    tool: self.tool.as_ref(),
                };
                let decision = decide(
                    webhook,
                    &review,
                    owners,
                    AuthorRights::Unasked,
                    &self.policy,
                );
                self.expect_the_same_without_a_body(webhook, body, &review, &decision);
                answer(review.uid(), &decision)
            }
            Err(Unreadable::Request(request)) => {
                answer(&request.uid, &Decision::deny(request.denial))
            }
            Err(Unreadable::Body(message)) => panic!("{message}"),
        }
    }

    /// A creation is decided the same where the object is held and no body was written.
    fn expect_the_same_without_a_body(
        &self,
        webhook: Webhook,
        body: &[u8],
        review: &Review<'_>,
        decision: &Decision,
    ) {
        let body: Value = serde_json::from_slice(body).expect("the body is JSON");
        let Some(creation) = creation(&body["request"]) else {
            return;
        };
        let owners = Owners {
            agent: self.agent.as_ref(),
            tool: self.tool.as_ref(),
        };
        let held = Review::of(creation).expect("the review is served");
        assert_eq!(held.wants(webhook), review.wants(webhook));
        let same = decide(webhook, &held, owners, AuthorRights::Unasked, &self.policy);
        assert_eq!(&same, decision);
    }

    /// The object after mutation, with the response that made it.
    pub(crate) fn mutate(&self, review: &Value) -> (Value, Value) {
        let mut response = self.ask(Webhook::Mutate, review);
        let mut object = review["request"]["object"].clone();
        if let Some(encoded) = response["patch"].as_str() {
            object = apply(&object, encoded);
            response["patch"] = json!(decode(encoded));
        }
        (object, response)
    }

    /// The causes of a denial by one webhook, as `reason field: message`.
    pub(crate) fn causes(&self, webhook: Webhook, review: &Value) -> Vec<String> {
        let response = self.ask(webhook, review);
        let causes = response["status"]["details"]["causes"]
            .as_array()
            .cloned();
        assert_eq!(response["allowed"], json!(causes.is_none()), "{response}");
        let text = |cause: &Value, member: &str| {
            cause[member]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        causes
            .unwrap_or_default()
            .iter()
            .map(|cause| {
                format!(
                    "{} {}: {}",
                    text(cause, "reason"),
                    text(cause, "field"),
                    text(cause, "message")
                )
            })
            .collect()
    }
}

/// What a request creates, if it does; without a body the decision must be the same.
pub(crate) fn creation(request: &Value) -> Option<Creation<'_>> {
    fn text(value: &Value) -> &str {
        value.as_str().unwrap_or_default()
    }
    let is_creation = request["operation"] == "CREATE"
        && request["subResource"] == ""
        && !request["object"].is_null();
    is_creation.then(|| Creation {
        group: text(&request["resource"]["group"]),
        kind: text(&request["kind"]["kind"]),
        resource: text(&request["resource"]["resource"]),
        namespace: text(&request["namespace"]),
        name: text(&request["name"]),
        object: &request["object"],
    })
}

/// The patch of an answer.
fn decode(encoded: &str) -> json_patch::Patch {
    let patch = STANDARD
        .decode(encoded)
        .expect("the patch is base64");
    serde_json::from_slice(&patch).expect("the patch is one")
}

/// An object with the patch of an answer applied.
pub(crate) fn apply(object: &Value, encoded: &str) -> Value {
    let mut object = object.clone();
    json_patch::patch(&mut object, &decode(encoded)).expect("the patch applies");
    object
}

fn object<K: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: &Value) -> K {
    serde_json::from_value(json!({
        "apiVersion": "agentkube.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "team", "uid": UID, "generation": 3},
        "spec": spec,
    }))
    .expect("the object fits its schema")
}

/// The UID of every Agent and Tool.
pub(crate) const UID: &str = "0c6d37c2-0000-4000-8000-000000000001";

/// The reference of a pod to the Agent or Tool that controls it.
pub(crate) fn controller(kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": "agentkube.io/v1alpha1", "kind": kind, "name": name, "uid": UID,
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// An Agent as an author writes it.
pub(crate) fn agent(spec: &Value) -> Value {
    json!({
        "apiVersion": "agentkube.io/v1alpha1",
        "kind": "Agent",
        "metadata": {"name": "bot", "namespace": "team"},
        "spec": spec,
    })
}

/// A Tool as an author writes it.
pub(crate) fn tool(spec: &Value) -> Value {
    json!({
        "apiVersion": "agentkube.io/v1alpha1",
        "kind": "Tool",
        "metadata": {"name": "browser", "namespace": "team"},
        "spec": spec,
    })
}

/// What makes a pod the Tool's: label, generation and controller.
pub(crate) fn belongs_to_tool(pod: &mut Value) {
    pod["metadata"]["labels"] = json!({"agentkube.io/tool": "browser"});
    pod["metadata"]["annotations"] = json!({"agentkube.io/tool-generation": "3"});
    pod["metadata"]["ownerReferences"] = json!([controller("Tool", "browser")]);
}

/// A pod of the Agent `bot`, as the API server hands it over: pull policies are defaulted.
pub(crate) fn agent_pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "bot", "namespace": "team", "labels": {"agentkube.io/agent": "bot"},
            "annotations": {"agentkube.io/agent-generation": "3"},
            "ownerReferences": [controller("Agent", "bot")],
        },
        "spec": {
            "containers": [{"name": "agent", "image": "agentkube.invalid/agent", "imagePullPolicy": "Always"}],
            "initContainers": [{
                "name": "agentlet",
                "image": "agentkube.invalid/agentlet",
                "imagePullPolicy": "Always",
                "restartPolicy": "Always",
            }],
        }
    })
}
