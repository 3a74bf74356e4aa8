#![expect(
    clippy::needless_pass_by_value,
    reason = "calls with `json!` in place read better"
)]

use serde_json::{Value, json};

use super::*;
use crate::admission::Reason;

const CODEX: &str = "docker.io/adaptivelive/codex:v0.3.0";
const AGENTLET: &str = "docker.io/adaptivelive/agentkube-agentlet:v0.3.0";

fn policy(variables: &[(&str, &str)]) -> Policy {
    Policy::parse(variables.iter().copied()).unwrap()
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "agentkube.io/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": name, "namespace": "adaptive", "uid": format!("uid-{name}"), "generation": 3,
        },
        "spec": spec,
    })
}

fn agent(spec: Value) -> Value {
    object("Agent", "bot", spec)
}

fn codex() -> Value {
    agent(json!({"runtime": "Codex", "paused": false}))
}

fn tool(spec: Value) -> Value {
    object("Tool", "browser", spec)
}

/// One entry of a record.
fn decision(container: &str, component: &str, image: &str, source: &str) -> Value {
    json!({"container": container, "component": component, "image": image, "source": source})
}

/// A pod with this record, and containers with these images.
fn pod(labels: Value, record: Option<Value>, containers: &[(&str, &str)]) -> Value {
    let containers: Vec<_> = containers
        .iter()
        .map(|(name, image)| json!({"name": name, "image": image}))
        .collect();
    let mut pod = json!({
        "metadata": {
            "name": "job", "namespace": "adaptive", "uid": "uid-job", "labels": labels,
        },
        "spec": {"containers": containers},
        "status": {"phase": "Running"},
    });
    if let Some(record) = record {
        pod["metadata"]["annotations"] = json!({"agentkube.io/images": record.to_string()});
    }
    pod
}

/// The own pod of [`codex`], as the reconciler and admission make it without any setting.
fn own_pod() -> Value {
    let record = json!([
        decision("agent", "Codex", CODEX, "default"),
        decision("agentlet", "Agentlet", AGENTLET, "default"),
    ]);
    let mut pod = pod(
        json!({"agentkube.io/agent": "bot"}),
        Some(record),
        &[("agent", CODEX)],
    );
    pod["spec"]["initContainers"] = json!([{"name": "agentlet", "image": AGENTLET}]);
    pod["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "agentkube.io/v1alpha1", "kind": "Agent", "name": "bot", "uid": "uid-bot",
        "controller": true,
    }]);
    pod
}

/// Scans these objects. No others exist.
fn scan(policy: &Policy, objects: &[Value]) -> (Vec<ScanFinding>, Looked) {
    let mut scan = Scan::new(policy, Excluded::LeaveOut);
    for object in objects {
        match object["kind"].as_str() {
            Some("Agent") => scan.agent(object),
            Some("Tool") => scan.tool(object),
            _ => {}
        }
    }
    for pod in objects
        .iter()
        .filter(|object| object.get("kind").is_none())
    {
        for owner in scan.missing(pod) {
            scan.learn(&owner, None);
        }
        scan.pod(pod);
    }
    scan.finish()
}

/// The findings, as `category severity reason kind field`.
fn found(policy: &Policy, objects: &[Value]) -> Vec<String> {
    let words = |finding: &ScanFinding| {
        format!(
            "{} {} {} {} {}",
            finding.category,
            finding.severity.as_str(),
            finding
                .reason
                .map_or("-", Reason::as_str),
            finding.kind.as_str(),
            finding.field
        )
    };
    scan(policy, objects)
        .0
        .iter()
        .map(words)
        .collect()
}

const ALLOWED: (&str, &str) = ("AGENTKUBE_ALLOWED_REGISTRIES", "registry.example.com");
const MIRROR: (&str, &str) = ("AGENTKUBE_IMAGE_REGISTRY", "registry.example.com/m");
const RECORD: &str = "metadata.annotations[agentkube.io/images]";

#[test]
fn what_is_as_it_should_be_is_not_found() {
    let objects = [
        codex(),
        tool(json!({"type": "redis"})),
        own_pod(),
        pod(json!({}), None, &[("web", "nginx:1.27")]),
    ];
    let (findings, looked) = scan(&Policy::default(), &objects);
    assert_eq!(findings, []);
    let all = Looked {
        agents: 1,
        tools: 1,
        pods: 2,
        left_out: 0,
    };
    assert_eq!(looked, all);
}

#[test]
fn what_policy_would_refuse_now_is_found_on_agents_tools_and_their_pods() {
    let objects = [
        agent(json!({"runtime": "Codex", "image": "quay.io/team/codex:v1"})),
        tool(json!({"type": "custom", "image": "quay.io/team/browser:v1"})),
        pod(
            json!({"agentkube.io/agent": "bot"}),
            Some(json!([])),
            &[
                ("a", "quay.io/team/codex:v1"),
                ("b", "registry.example.com/b"),
            ],
        ),
        // Other pods are never sent to the webhook.
        pod(json!({}), None, &[("web", "quay.io/team/web:v1")]),
    ];
    assert_eq!(found(&Policy::default(), &objects), [""; 0]);
    assert_eq!(
        found(&policy(&[ALLOWED]), &objects),
        [
            "Refused high RegistryNotAllowed Agent spec.image",
            "Refused high RegistryNotAllowed Pod spec.containers[0].image",
            "Refused high RegistryNotAllowed Tool spec.image",
        ]
    );
    let warn = policy(&[ALLOWED, ("AGENTKUBE_ENFORCEMENT", "warn")]);
    let warned = found(&warn, &objects);
    assert_eq!(warned.len(), 3);
    assert!(
        warned
            .iter()
            .all(|found| found.starts_with("Refused low RegistryNotAllowed")),
        "{warned:?}"
    );
}

#[test]
fn a_token_in_plain_sight_is_found_in_any_container_and_not_repeated() {
    let mut leaking = own_pod();
    let token = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789";
    leaking["spec"]["initContainers"][0]["env"] =
        json!([{"name": "OPENAI_API_KEY", "value": token}]);
    let (findings, _) = scan(&Policy::default(), &[codex(), leaking]);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].reason, Some(Reason::PlaintextToken));
    assert_eq!(findings[0].category, Category::Refused);
    assert!(!format!("{findings:?}").contains(token));
}

#[test]
fn a_spec_that_admission_refuses_entered_unjudged() {
    let policy = Policy::default();
    for (object, expected) in [
        (
            agent(json!({"runtime": "Codex", "image": "https://quay.io/x"})),
            "EnteredUnjudged medium InvalidImage Agent spec.image",
        ),
        (
            agent(json!({"runtime": "Custom"})),
            "EnteredUnjudged medium ImageRequired Agent spec.image",
        ),
        (
            agent(
                json!({"runtime": "Codex", "agentToken": {"secretRef": {"name": "A B", "key": "k"}}}),
            ),
            "EnteredUnjudged medium InvalidSecretRef Agent spec.agentToken.secretRef.name",
        ),
        (
            tool(json!({"type": "custom"})),
            "EnteredUnjudged medium ImageRequired Tool spec.image",
        ),
    ] {
        assert_eq!(found(&policy, &[object]), [expected]);
    }
}

#[test]
fn a_pod_that_names_nobody_is_found_and_one_that_the_garbage_collector_takes_is_not() {
    let policy = Policy::default();
    let labels = json!({"agentkube.io/agent": "bot"});
    let field = "metadata.labels[agentkube.io/agent]";
    let unjudged = pod(labels.clone(), None, &[("a", "nginx")]);
    assert_eq!(
        found(&policy, &[unjudged]),
        [format!("EnteredUnjudged medium UnknownAgent Pod {field}")]
    );
    let orphan = pod(labels, Some(json!([])), &[("a", "nginx")]);
    assert_eq!(
        found(&policy, &[orphan]),
        [format!("Refused medium UnknownAgent Pod {field}")]
    );
    assert_eq!(found(&policy, &[own_pod()]), [""; 0]);
}

#[test]
fn a_labelled_pod_without_a_record_is_found() {
    let policy = Policy::default();
    let mut own = own_pod();
    own["metadata"]["annotations"] = Value::Null;
    assert_eq!(
        found(&policy, &[codex(), own.clone()]),
        [format!("EnteredUnjudged medium - Pod {RECORD}")]
    );
    own["metadata"]["annotations"] = json!({"agentkube.io/images": "{"});
    assert_eq!(found(&policy, &[codex(), own]).len(), 1);
    let foreign = pod(json!({"agentkube.io/agent": "bot"}), None, &[("a", CODEX)]);
    assert_eq!(
        found(&policy, &[codex(), foreign]),
        [format!("EnteredUnjudged low - Pod {RECORD}")]
    );
}

#[test]
fn a_decision_that_the_rules_would_not_repeat_is_outdated() {
    let outdated = [format!("Outdated low - Pod {RECORD}")];
    assert_eq!(found(&policy(&[MIRROR]), &[codex(), own_pod()]), outdated);
    let recording = agent(json!({"runtime": "Codex", "sessionRecording": {"enabled": true}}));
    let (findings, _) = scan(&Policy::default(), &[recording, own_pod()]);
    assert_eq!(
        findings[0].message,
        "container `session-recorder` is missing from the pod (hint: delete it; its Agent is paused, so no new one \
         is created: `kubectl delete pod -n adaptive job`)"
    );
    // The same image by another rule is no change.
    let same = policy(&[("AGENTKUBE_IMAGE_CODEX", CODEX)]);
    assert_eq!(found(&same, &[codex(), own_pod()]), [""; 0]);
    // A spec that is not accepted is a finding of the Agent.
    let broken = agent(json!({"runtime": "Codex", "image": "A B"}));
    let (findings, _) = scan(&Policy::default(), &[broken, own_pod()]);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].kind, ScannedKind::Agent);
}

#[test]
fn the_record_of_anybodys_pod_is_held_against_the_same_row() {
    let job = |record: Value, image: &str| pod(json!({}), Some(json!([record])), &[("c", image)]);
    let codex = || job(decision("c", "Codex", CODEX, "default"), CODEX);
    assert_eq!(found(&Policy::default(), &[codex()]), [""; 0]);
    assert_eq!(found(&policy(&[MIRROR]), &[codex()]).len(), 1);
    // A written-out default keeps its tag when it is moved to the mirror.
    let old = "registry.example.com/m/adaptivelive/codex:v0.2.0";
    let moved = || job(decision("c", "Codex", old, "mirror"), old);
    assert_eq!(found(&policy(&[MIRROR]), &[moved()]), [""; 0]);
    assert_eq!(found(&Policy::default(), &[moved()]).len(), 1);
}

#[test]
fn a_labelled_pod_of_somebody_else_follows_its_agents_own_image() {
    let labels = json!({"agentkube.io/agent": "bot"});
    let record = json!([decision(
        "main",
        "Codex",
        "quay.io/team/codex:v1",
        "resource"
    )]);
    let job = pod(labels, Some(record), &[("main", "quay.io/team/codex:v1")]);
    let with = |image: &str| agent(json!({"runtime": "Codex", "image": image}));
    let none = Policy::default();
    assert_eq!(
        found(&none, &[with("quay.io/team/codex:v1"), job.clone()]),
        [""; 0]
    );
    assert_eq!(
        found(&none, &[with("quay.io/team/codex:v2"), job]),
        [format!("Outdated low - Pod {RECORD}")]
    );
}

#[test]
fn an_image_other_than_the_recorded_one_is_found_whatever_its_spelling() {
    let with = |image: &str| {
        let mut pod = own_pod();
        pod["spec"]["containers"][0]["image"] = json!(image);
        found(&Policy::default(), &[codex(), pod])
    };
    assert_eq!(with("adaptivelive/codex:v0.3.0"), [""; 0]);
    assert_eq!(
        with("adaptivelive/codex:v0.2.0"),
        ["Differs high - Pod spec.containers[0].image"]
    );
    let mut sidecar = own_pod();
    sidecar["spec"]["initContainers"][0]["image"] = json!("registry.example.com/agentlet");
    sidecar["spec"]["initContainers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "injected", "image": "registry.example.com/mesh"}));
    assert_eq!(
        found(&Policy::default(), &[codex(), sidecar]),
        ["Differs high - Pod spec.initContainers[0].image"]
    );
}

#[test]
fn a_placeholder_is_found_in_every_place_of_anybodys_pod() {
    let mut everywhere = pod(json!({}), None, &[("c", "agentkube.invalid/codex")]);
    everywhere["spec"]["initContainers"] =
        json!([{"name": "i", "image": "agentkube.invalid/agentlet"}]);
    everywhere["spec"]["ephemeralContainers"] =
        json!([{"name": "e", "image": "agentkube.invalid/agent"}]);
    everywhere["spec"]["volumes"] =
        json!([{"name": "v", "image": {"reference": "agentkube.invalid/nothing"}}]);
    let expected = [
        "Placeholder medium - Pod spec.containers[0].image",
        "Placeholder medium - Pod spec.ephemeralContainers[0].image",
        "Placeholder medium - Pod spec.initContainers[0].image",
        "Placeholder medium - Pod spec.volumes[0].image.reference",
    ];
    assert_eq!(found(&Policy::default(), &[everywhere.clone()]), expected);
    // The kubelet made it from a file, so nothing else is checked.
    everywhere["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    everywhere["metadata"]["labels"] = json!({"agentkube.io/agent": "nobody"});
    assert_eq!(found(&Policy::default(), &[everywhere]), expected);
    let mut shown = pod(json!({"agentkube.io/agent": "bot"}), None, &[("c", CODEX)]);
    shown["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    assert_eq!(found(&Policy::default(), &[codex(), shown]), [""; 0]);
    let label = json!({"agentkube.io/agent": "nobody"});
    let waiting = pod(label, None, &[("agent", "agentkube.invalid/agent")]);
    assert_eq!(
        found(&Policy::default(), &[waiting]),
        ["Placeholder medium - Pod spec.containers[0].image"],
        "an owner that is missing is one problem and not two"
    );
}

#[test]
fn what_is_going_or_has_ended_or_is_excluded_is_left_out() {
    let broken = || pod(json!({}), None, &[("c", "agentkube.invalid/codex")]);
    let mut going = broken();
    going["metadata"]["deletionTimestamp"] = json!("2026-11-22T14:00:00Z");
    let mut ended = broken();
    ended["status"]["phase"] = json!("Failed");
    let mut system = broken();
    system["metadata"]["namespace"] = json!("kube-system");
    let mut agent = agent(json!({"runtime": "Custom"}));
    agent["metadata"]["deletionTimestamp"] = json!("2026-11-22T14:00:00Z");
    let (findings, looked) = scan(&Policy::default(), &[agent, going, ended, system.clone()]);
    assert_eq!(findings, []);
    assert_eq!(looked.left_out, 4);
    let policy = Policy::default();
    let mut asked = Scan::new(&policy, Excluded::Judge);
    asked.pod(&system);
    assert_eq!(asked.finish().0.len(), 1);
}

#[test]
fn an_agent_that_is_newer_than_the_list_is_read_once() {
    let policy = Policy::default();
    let mut scan = Scan::new(&policy, Excluded::LeaveOut);
    scan.agent(&codex());
    let mut newer = own_pod();
    newer["metadata"]["annotations"]["agentkube.io/agent-generation"] = json!("4");
    let bot = Owner {
        kind: ScannedKind::Agent,
        namespace: "adaptive".to_owned(),
        name: "bot".to_owned(),
    };
    assert_eq!(scan.missing(&own_pod()), []);
    assert_eq!(scan.missing(&newer), std::slice::from_ref(&bot));
    scan.learn(&bot, Some(&codex()));
    assert_eq!(scan.missing(&newer), [], "it will not get any newer");
    scan.pod(&newer);
    assert_eq!(scan.finish().0, []);
}

#[test]
fn reports_are_one_for_each_object_under_a_name_that_stays() {
    let objects = [
        agent(json!({"runtime": "Codex", "paused": false, "image": "quay.io/team/codex:v1"})),
        own_pod(),
    ];
    let (findings, _) = scan(&policy(&[MIRROR, ALLOWED]), &objects);
    let now = jiff::Timestamp::new(1_795_000_000, 5).unwrap();
    insta::assert_yaml_snapshot!(reports(&findings, now));
}
