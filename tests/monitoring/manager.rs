use std::{io, sync::Arc};

use agentkube::{
    admission::Policy,
    images::rows,
    rejections::{Recorder, Retention},
    server::webhook::Webhooks,
    telemetry::Metrics,
};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, Response, header},
};
use kube::Client;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::scrape::Scrape;

/// What the manager's own metrics show once its webhooks have answered reviews of every kind.
pub(crate) async fn scrape() -> Scrape {
    let metrics = Metrics::new("1.2.3");
    for (environment, reviews) in sessions() {
        let policy = Policy::parse(environment.iter().copied()).expect("the settings are legal");
        let webhooks = Webhooks::new(
            Arc::new(policy),
            Arc::default(),
            Client::new(tower::service_fn(api_server), "default"),
            metrics.clone(),
            Arc::new(Recorder::new(Retention::default(), metrics.rejections())),
        )
        .router();
        for (path, review) in reviews {
            let request = Request::post(path)
                .header(header::CONTENT_TYPE, "application/json")
                .body(review.to_string().into());
            send(&webhooks, request.expect("a request")).await;
        }
    }
    let request = Request::get("/metrics").body(Body::empty());
    Scrape::parse(&send(&metrics.router(), request.expect("a request")).await)
}

async fn send(router: &Router, request: Request<Body>) -> String {
    let response = router
        .clone()
        .oneshot(request)
        .await
        .expect("an answer");
    assert_eq!(response.status(), 200);
    let body = to_bytes(response.into_body(), usize::MAX)
        .await
        .expect("a body");
    String::from_utf8(body.to_vec()).expect("text")
}

/// Answers what the manager reads: the Agents `custom` and `claude`, the Tool `browser`.
async fn api_server(
    request: Request<kube::client::Body>,
) -> Result<Response<kube::client::Body>, io::Error> {
    let path = request.uri().path();
    let (kind, name, spec) = match path.rsplit_once('/') {
        Some((_, name @ "custom")) => (
            "Agent",
            name,
            json!({"runtime": "Custom", "image": "quay.io/team/agent:v1"}),
        ),
        Some((_, name @ "claude")) => ("Agent", name, json!({"runtime": "ClaudeCode"})),
        Some((_, name @ "browser")) => (
            "Tool",
            name,
            json!({"type": "custom", "image": "quay.io/team/browser:v1"}),
        ),
        Some((_, "subjectaccessreviews")) => {
            let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {}, "status": {"allowed": false}});
            return answer(201, &review);
        }
        Some((_, "away")) => return Err(io::Error::other("away")),
        _ => {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound", "message": "no"});
            return answer(404, &status);
        }
    };
    answer(
        200,
        &json!({
            "apiVersion": "agentkube.io/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": "team", "uid": "u", "generation": 1},
            "spec": spec,
        }),
    )
}

fn answer(code: u16, body: &Value) -> Result<Response<kube::client::Body>, io::Error> {
    Response::builder()
        .status(code)
        .body(body.to_string().into_bytes().into())
        .map_err(io::Error::other)
}

/// The reviews that are asked of a manager with these settings, by path.
type Session = (
    &'static [(&'static str, &'static str)],
    Vec<(&'static str, Value)>,
);

fn sessions() -> [Session; 3] {
    let token = json!({"secretRef": {"name": "Token", "key": "token"}});
    let theirs = json!({"secretRef": {"name": "theirs", "key": "token"}});
    let literal = json!({"name": "ANTHROPIC_API_KEY", "value": "hunter2"});
    let mut plain = pod("agent", "claude", "agentkube.invalid/agent");
    plain["spec"]["containers"][0]["env"] = json!([literal]);
    let mut stale = pod("agent", "claude", "agentkube.invalid/agent");
    stale["metadata"]["annotations"]["agentkube.io/agent-generation"] = json!("7");

    let mut default = vec![
        ("/mutate", agent(&json!({"runtime": "Codex"}))),
        ("/mutate", agent(&json!({"runtime": "Custom"}))),
        ("/mutate", agent(&json!({"runtime": "Codx"}))),
        (
            "/mutate",
            agent(&json!({"runtime": "Codex", "image": "a b"})),
        ),
        (
            "/mutate",
            agent(&json!({"runtime": "Codex", "agentToken": token})),
        ),
        (
            "/mutate",
            agent(&json!({"runtime": "Codex", "agentToken": theirs})),
        ),
        ("/validate", tool(&json!({"type": "postgres"}))),
        ("/validate", tool(&json!({"type": "postgre"}))),
        (
            "/validate",
            tool(&json!({"type": "postgres", "probe": {"tcpSocket": {"host": "h", "port": 1}}})),
        ),
        ("/mutate", create(&stale)),
        ("/validate", review("DELETE", "", "pods", &json!({}))),
        (
            "/validate",
            review("CREATE", "apps", "deployments", &json!({})),
        ),
        ("/mutate", create(&plain)),
        ("/rewrite-defaults", create(&pod("app", "x", "codex"))),
        (
            "/mutate",
            create(&pod("agent", "away", "agentkube.invalid/agent")),
        ),
        (
            "/mutate",
            create(&pod("agent", "nobody", "agentkube.invalid/agent")),
        ),
        (
            "/mutate",
            create(&pod("tool", "nothing", "agentkube.invalid/tool")),
        ),
        (
            "/mutate",
            create(&pod("agent", "custom", "agentkube.invalid/codx")),
        ),
        (
            "/mutate",
            create(&pod("agent", "custom", "agentkube.invalid/agent")),
        ),
        (
            "/mutate",
            create(&pod("tool", "browser", "agentkube.invalid/tool")),
        ),
    ];
    for placeholder in rows().filter_map(|row| row.placeholder) {
        let image = format!("agentkube.invalid/{placeholder}");
        default.push(("/mutate", create(&pod("app", "x", &image))));
    }
    let codex = create(&pod("app", "x", "agentkube.invalid/codex"));
    let goose = create(&pod("app", "x", "agentkube.invalid/goose"));
    let mut update = create(&pod("agent", "custom", "quay.io/team/agent:v2"));
    update["request"]["operation"] = json!("UPDATE");
    update["request"]["oldObject"] = pod("agent", "custom", "quay.io/team/agent:v1");
    default.extend(refused());
    [
        (&[], default),
        (
            &[
                ("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com"),
                ("AGENTKUBE_IMAGE_CODEX", "registry.example.com/codex:v1"),
                ("AGENTKUBE_ALLOWED_REGISTRIES", "registry.example.com"),
            ],
            vec![
                ("/mutate", codex),
                ("/mutate", goose),
                ("/validate", update),
            ],
        ),
        (
            &[("AGENTKUBE_ENFORCEMENT", "warn")],
            vec![
                ("/mutate", create(&plain)),
                ("/validate", {
                    plain["spec"]["containers"][0]["image"] = json!("quay.io/team/agent:v1");
                    create(&plain)
                }),
            ],
        ),
    ]
}

/// An update that takes a pod from its Agent, a spec that cannot be read, and one that is too large.
fn refused() -> [(&'static str, Value); 3] {
    let mut released = create(&pod("app", "custom", "quay.io/team/agent:v1"));
    released["request"]["operation"] = json!("UPDATE");
    released["request"]["oldObject"] = pod("agent", "custom", "quay.io/team/agent:v1");
    let unreadable = json!({"type": "redis", "config": {"port": 1.5}});
    let large = json!({"type": "redis", "tags": ["x".repeat(200_000)]});
    [
        ("/mutate", released),
        ("/validate", tool(&unreadable)),
        ("/validate", tool(&large)),
    ]
}

fn agent(spec: &Value) -> Value {
    let object = json!({"metadata": {"name": "a"}, "spec": spec});
    review("CREATE", "agentkube.io", "agents", &object)
}

fn tool(spec: &Value) -> Value {
    let object = json!({"metadata": {"name": "t"}, "spec": spec});
    review("CREATE", "agentkube.io", "tools", &object)
}

fn create(pod: &Value) -> Value {
    review("CREATE", "", "pods", pod)
}

/// A pod with one label of ours, whose Agent or Tool controls it, and one image.
fn pod(label: &str, value: &str, image: &str) -> Value {
    let controller = |kind: &str| {
        json!([{
            "apiVersion": "agentkube.io/v1alpha1", "kind": kind, "name": value, "uid": "u",
            "controller": true,
        }])
    };
    json!({
        "metadata": {
            "name": "p",
            "labels": {format!("agentkube.io/{label}"): value},
            "annotations": {format!("agentkube.io/{label}-generation"): "1"},
            "ownerReferences": match label {
                "agent" => controller("Agent"),
                "tool" => controller("Tool"),
                _ => Value::Null,
            },
        },
        "spec": {"containers": [{"name": "c", "image": image, "imagePullPolicy": "Always"}]},
    })
}

fn review(operation: &str, group: &str, resource: &str, object: &Value) -> Value {
    let kind = match resource {
        "agents" => "Agent",
        "tools" => "Tool",
        "pods" => "Pod",
        _ => "Deployment",
    };
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u",
        "kind": {"group": group, "version": "v1", "kind": kind},
        "resource": {"group": group, "version": "v1", "resource": resource},
        "name": "x",
        "namespace": "team",
        "operation": operation,
        "userInfo": {"username": "ada"},
        "object": object,
    }})
}
