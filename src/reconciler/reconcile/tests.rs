use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::{
    events::Reporter,
    reflector::{self, store::Writer},
    watcher,
};
use serde_json::{Value, json};

use super::*;
use crate::{
    api::Agent,
    fake_api::{Api as FakeApi, Reply},
    reconciler::{
        fixtures::{agent, observed, owner_reference},
        memory::packed::Packed,
    },
};

/// A leader whose watches have shown `pods`.
fn context(api: &FakeApi, pods: Vec<ObservedPod>) -> Context {
    let client = api.client();
    let (pod_store, writer) = reflector::store();
    fill(
        writer,
        pods.into_iter()
            .map(Packed::from)
            .collect(),
    );
    let (agents, writer) = reflector::store();
    fill(writer, Vec::new());
    let (tools, writer) = reflector::store();
    fill(writer, Vec::new());
    let reporter = Reporter {
        controller: MANAGER.to_owned(),
        instance: Some("me".to_owned()),
    };
    Context {
        leader: Arc::new(Leader {
            recorder: EventRecorder::new(client.clone(), reporter),
            client,
            policy: Arc::default(),
            stores: Stores {
                agents,
                tools,
                pods: pod_store,
                users: Arc::default(),
            },
        }),
        pods: Backoff::default(),
        reports: Backoff::default(),
        burst: Burst::default(),
    }
}

fn fill<K: Resource<DynamicType = ()> + Clone>(mut writer: Writer<K>, objects: Vec<K>) {
    writer.apply_watcher_event(&watcher::Event::Init);
    for object in objects {
        writer.apply_watcher_event(&watcher::Event::InitApply(object));
    }
    writer.apply_watcher_event(&watcher::Event::InitDone);
}

/// An API server that accepts statuses and Events, and answers requests for pods with `pods`.
fn api(pods: Reply) -> FakeApi {
    let api = FakeApi::default();
    let agent = json!({
        "apiVersion": "agentkube.io/v1alpha1", "kind": "Agent",
        "metadata": {"name": "bot"}, "spec": {"runtime": "Codex"},
    });
    api.on("PATCH", "/agents/bot/status", Reply::ok(agent));
    api.on(
        "POST",
        "/events",
        Reply::ok(json!({"metadata": {}, "eventTime": null})),
    );
    api.on("POST", "/pods", pods);
    api
}

fn created() -> Reply {
    Reply::ok(json!({"metadata": {"name": "bot"}}))
}

fn armed() -> Agent {
    agent(json!({"runtime": "Codex", "paused": false}))
}

fn ready(status: &Value) -> &Value {
    status["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|condition| condition["type"] == "Ready")
        .unwrap()
}

#[tokio::test]
async fn an_armed_agent_without_a_pod_gets_one() {
    let api = api(created());
    let context = context(&api, Vec::new());
    let action = context
        .reconcile(&armed().into())
        .await
        .unwrap();
    assert_eq!(action, Action::requeue(RECHECK));
    let pod = api.request("POST", "/pods");
    assert_eq!(pod["metadata"]["name"], "bot");
    assert_eq!(pod["metadata"]["namespace"], "adaptive");
    assert_eq!(api.count("POST", "/events"), 0, "nothing is wrong");
    assert_eq!(
        api.count("PATCH", "/status"),
        0,
        "the pod's own event reports"
    );
}

#[tokio::test]
async fn a_paused_agent_gets_none_and_is_told_so() {
    let api = api(created());
    let context = context(&api, Vec::new());
    let paused = agent(json!({"runtime": "Codex"}));
    let action = context
        .reconcile(&paused.clone().into())
        .await
        .unwrap();
    assert_eq!(action, Action::await_change());
    assert_eq!(api.count("POST", "/pods"), 0);
    let status = api.request("PATCH", "/agents/bot/status");
    assert_eq!(status["status"]["phase"], "Paused");
    assert_eq!(api.count("POST", "/events"), 0, "nothing is wrong");
}

#[tokio::test]
async fn an_agent_that_is_being_deleted_is_left_alone() {
    let api = api(created());
    let context = context(&api, Vec::new());
    let mut agent = serde_json::to_value(armed()).unwrap();
    agent["metadata"]["deletionTimestamp"] = "2026-11-22T14:00:00Z".into();
    let agent: Agent = serde_json::from_value(agent).unwrap();
    context
        .reconcile(&agent.clone().into())
        .await
        .unwrap();
    assert_eq!(api.total(), 0);
}

#[tokio::test]
async fn a_status_that_is_right_is_not_written_again() {
    let api = api(created());
    let context = context(&api, Vec::new());
    let mut paused = agent(json!({"runtime": "Codex"}));
    context
        .reconcile(&paused.clone().into())
        .await
        .unwrap();
    let written = api.request("PATCH", "/agents/bot/status");
    paused.status = Some(serde_json::from_value(written["status"].clone()).unwrap());
    context
        .reconcile(&paused.clone().into())
        .await
        .unwrap();
    assert_eq!(api.count("PATCH", "/status"), 1);
}

#[tokio::test]
async fn a_pod_of_somebody_else_is_reported_and_left_alone() {
    let api = api(Reply::error(
        409,
        "AlreadyExists",
        "pods \"bot\" already exists",
    ));
    api.on(
        "GET",
        "/pods/bot",
        Reply::ok(json!({"metadata": {"name": "bot"}})),
    );
    let context = context(&api, Vec::new());
    let action = context
        .reconcile(&armed().into())
        .await
        .unwrap();
    assert_eq!(action, Action::requeue(NAME_TAKEN_RETRY));
    let status = api.request("PATCH", "/agents/bot/status");
    assert_eq!(status["status"]["phase"], "Failed");
    assert_eq!(ready(&status)["reason"], "PodNameTaken");
    assert_eq!(api.request("POST", "/events")["type"], "Warning");
}

#[tokio::test]
async fn a_stale_view_makes_no_second_pod_and_no_complaint() {
    let api = api(Reply::error(
        409,
        "AlreadyExists",
        "pods \"bot\" already exists",
    ));
    let ours = json!({"metadata": {"name": "bot", "ownerReferences": [owner_reference("uid-1")]}});
    api.on("GET", "/pods/bot", Reply::ok(ours));
    let context = context(&api, Vec::new());
    let action = context
        .reconcile(&armed().into())
        .await
        .unwrap();
    assert_eq!(action, Action::requeue(RECHECK));
    assert_eq!(api.count("PATCH", "/status"), 0);
}

#[tokio::test]
async fn a_pod_that_is_there_is_only_reported() {
    let api = api(created());
    let pod = observed(
        "bot",
        json!({"agentkube.io/images": "[]"}),
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}),
    );
    let context = context(&api, vec![pod]);
    context
        .reconcile(&armed().into())
        .await
        .unwrap();
    assert_eq!(api.count("POST", "/pods"), 0);
    let status = api.request("PATCH", "/agents/bot/status");
    assert_eq!(status["status"]["ready"], "1/1");
}

#[tokio::test]
async fn a_pod_that_has_just_been_created_is_given_a_moment_to_start() {
    let api = api(created());
    let mut pod = observed(
        "bot",
        json!({"agentkube.io/images": "[]"}),
        json!({"phase": "Pending"}),
    );
    let mut reconcile = async |agent: &Agent, age: i64| {
        let created = Timestamp::now().as_second() - age;
        let created = Timestamp::from_second(created).unwrap();
        pod.metadata.creation_timestamp = Some(Time(created));
        let context = context(&api, vec![pod.clone()]);
        context
            .reconcile(&agent.clone().into())
            .await
            .unwrap();
        api.count("PATCH", "/status")
    };
    assert_eq!(reconcile(&armed(), 0).await, 0);
    assert_eq!(reconcile(&armed(), 10).await, 1, "it takes its time");
    assert_eq!(reconcile(&armed(), -600).await, 2, "the clocks differ");

    let mut agent = armed();
    let ready = json!({"conditions": [{
        "type": "Ready", "status": "True", "reason": "PodReady", "message": "",
        "lastTransitionTime": "2026-11-22T14:00:00Z",
    }]});
    agent.status = Some(serde_json::from_value(ready).unwrap());
    assert_eq!(
        reconcile(&agent, 0).await,
        3,
        "it was ready, and is not now"
    );
}

#[tokio::test]
async fn in_a_burst_pods_come_first_and_words_later() {
    let api = api(created());
    let running = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    let mut pod = observed("bot", json!({"agentkube.io/images": "[]"}), running);
    let mut written = async |age: i64, creating: usize| {
        let created = Timestamp::now().as_second() - age;
        pod.metadata.creation_timestamp = Some(Time(Timestamp::from_second(created).unwrap()));
        let context = context(&api, vec![pod.clone()]);
        let creating: Vec<_> = (0..creating)
            .map(|_| context.burst.creating())
            .collect();
        let before = api.count("PATCH", "/status");
        context
            .reconcile(&armed().into())
            .await
            .unwrap();
        drop(creating);
        api.count("PATCH", "/status") > before
    };
    assert!(written(0, 0).await);
    assert!(!written(0, 16).await);
    assert!(written(600, 16).await, "nobody waits for ever");
}

#[tokio::test]
async fn a_refused_pod_is_reported_and_tried_later() {
    let refusal = "exceeded quota: compute";
    let api = api(Reply::error(403, "Forbidden", refusal));
    let context = context(&api, Vec::new());
    let action = context
        .reconcile(&armed().into())
        .await
        .unwrap();
    assert_eq!(action, Action::requeue(Duration::from_secs(1)));
    let status = api.request("PATCH", "/agents/bot/status");
    assert_eq!(ready(&status)["reason"], "PodCreateFailed");
    assert!(
        ready(&status)["message"]
            .as_str()
            .unwrap()
            .contains(refusal)
    );
    assert_eq!(api.request("POST", "/events")["reason"], "PodCreateFailed");

    // The new status comes back as an event of the Agent.
    context
        .reconcile(&armed().into())
        .await
        .unwrap();
    assert_eq!(api.count("POST", "/pods"), 1, "no sooner than its time");

    let mut changed = armed();
    changed.metadata.generation = Some(4);
    let action = context
        .reconcile(&changed.clone().into())
        .await
        .unwrap();
    assert_eq!(api.count("POST", "/pods"), 2, "a new spec is tried at once");
    assert_eq!(action, Action::requeue(Duration::from_secs(2)));
}

/// The answer to a pod that was built from a state of its Agent that admission does not know.
fn conflict() -> Reply {
    Reply::error(409, "Conflict", "the pod has to be built anew")
}

fn live(metadata: &Value, spec: &Value) -> Reply {
    let mut agent = json!({
        "apiVersion": "agentkube.io/v1alpha1", "kind": "Agent",
        "metadata": {"name": "bot", "namespace": "adaptive", "uid": "uid-2", "generation": 7},
        "spec": spec,
    });
    for (name, value) in metadata.as_object().unwrap() {
        agent["metadata"][name] = value.clone();
    }
    Reply::ok(agent)
}

#[tokio::test]
async fn a_pod_that_admission_calls_outdated_is_built_anew_from_a_live_read() {
    let api = api(conflict());
    let spec = json!({"runtime": "Goose", "paused": false});
    api.on("GET", "/agents/bot", live(&json!({}), &spec));
    let context = context(&api, Vec::new());
    context
        .reconcile(&armed().into())
        .await
        .unwrap();
    let pod = api.request("POST", "/pods");
    let metadata = &pod["metadata"];
    assert_eq!(
        metadata["annotations"]["agentkube.io/agent-generation"],
        "7"
    );
    assert_eq!(metadata["ownerReferences"][0]["uid"], "uid-2");
    assert_eq!(
        api.count("POST", "/pods"),
        MOST_REBUILDS + 1,
        "it ends, however often the Agent changes"
    );
    let status = api.request("PATCH", "/agents/bot/status");
    assert_eq!(ready(&status)["reason"], "PodCreateFailed");
}

#[tokio::test]
async fn an_agent_that_was_paused_or_deleted_meanwhile_gets_no_pod() {
    let spec = json!({"runtime": "Codex", "paused": false});
    let deleted = json!({"deletionTimestamp": "2026-11-28T00:00:00Z"});
    for (reply, reason) in [
        (
            live(&json!({}), &json!({"runtime": "Codex"})),
            Some("Paused"),
        ),
        (live(&deleted, &spec), None),
        (Reply::error(404, "NotFound", "gone"), None),
    ] {
        let api = api(conflict());
        api.on("GET", "/agents/bot", reply);
        let context = context(&api, Vec::new());
        context
            .reconcile(&armed().into())
            .await
            .unwrap();
        assert_eq!(api.count("POST", "/pods"), 1);
        assert_eq!(
            api.count("PATCH", "/agents/bot/status"),
            usize::from(reason.is_some())
        );
        if let Some(reason) = reason {
            let status = api.request("PATCH", "/agents/bot/status");
            assert_eq!(ready(&status)["reason"], reason);
        }
    }
}

#[tokio::test]
async fn a_status_that_cannot_be_written_is_tried_again() {
    let api = api(created());
    api.on(
        "PATCH",
        "/agents/bot/status",
        Reply::error(500, "InternalError", "etcd is away"),
    );
    let context = context(&api, Vec::new());
    let paused = agent(json!({"runtime": "Codex"}));
    let error = context
        .reconcile(&paused.clone().into())
        .await
        .unwrap_err();
    let action = context.failed(&paused, &error);
    assert_eq!(action, Action::requeue(Duration::from_secs(1)));
    api.on(
        "PATCH",
        "/agents/bot/status",
        Reply::error(404, "NotFound", "gone"),
    );
    context
        .reconcile(&paused.clone().into())
        .await
        .expect("an Agent that is gone needs no status");
}

#[tokio::test]
async fn a_status_that_cannot_be_written_keeps_no_pod_from_being_created() {
    let api = api(created());
    api.on(
        "PATCH",
        "/agents/bot/status",
        Reply::error(500, "InternalError", "etcd is away"),
    );
    let running = json!({"phase": "Running"});
    let pod = observed("bot", json!({"agentkube.io/images": "[]"}), running);
    let before = context(&api, vec![pod]);
    for _ in 0..10 {
        let error = before
            .reconcile(&armed().into())
            .await
            .unwrap_err();
        before.failed(&armed(), &error);
    }
    assert_eq!(api.count("POST", "/pods"), 0);

    // Its pod is deleted, and the status still cannot be written.
    let after = Context {
        reports: before.reports,
        pods: before.pods,
        ..context(&api, Vec::new())
    };
    after
        .reconcile(&armed().into())
        .await
        .unwrap();
    assert_eq!(api.count("POST", "/pods"), 1);
    after.forget(&key(&armed()));
    assert!(!after.reports.forget(&key(&armed())), "it was forgotten");
}

#[test]
fn a_long_note_is_cut_between_characters() {
    assert_eq!(cut("short"), "short");
    let cut = cut(&"é".repeat(1000)).len();
    assert_eq!(cut, LONGEST_NOTE);
}

/// The Agent's own pod, as a newer kubelet wrote it and the watch shows it.
fn unreadable_pod() -> Packed<ObservedPod> {
    serde_json::from_value(json!({
        "metadata": {"name": "bot", "namespace": "adaptive", "ownerReferences": [owner_reference("uid-1")]},
        "status": {"phase": {"newer": true}},
    }))
    .unwrap()
}

/// A leader whose watch has shown that pod.
fn context_of_unreadable(api: &FakeApi) -> Context {
    let mut context = context(api, Vec::new());
    let (pods, writer) = reflector::store();
    fill(writer, vec![unreadable_pod()]);
    Arc::get_mut(&mut context.leader)
        .unwrap()
        .stores
        .pods = pods;
    context
}

#[tokio::test]
async fn a_pod_that_cannot_be_read_is_told_of_and_left_alone() {
    let api = api(created());
    let context = context_of_unreadable(&api);
    let action = context
        .reconcile(&armed().into())
        .await
        .unwrap();
    assert_eq!(action, Action::await_change());
    assert_eq!(api.count("POST", "/pods"), 0, "there is one");
    let status = api.request("PATCH", "/agents/bot/status");
    let ready = ready(&status);
    assert_eq!(
        (&ready["status"], &ready["reason"]),
        (&json!("Unknown"), &json!("Unreadable"))
    );
    let message = ready["message"].as_str().unwrap();
    assert!(
        message.contains("cannot read status.phase of pod `bot`"),
        "{message}"
    );
}

#[tokio::test]
async fn an_agent_and_a_pod_that_cannot_be_read_are_both_told_of() {
    let api = api(created());
    let context = context_of_unreadable(&api);
    let mut agent = serde_json::to_value(armed()).unwrap();
    agent["spec"]["runtime"] = json!("Newer");
    let packed: Packed<Agent> = serde_json::from_value(agent).unwrap();
    context
        .reconcile(&packed)
        .await
        .unwrap();
    let status = api.request("PATCH", "/agents/bot/status");
    let conditions = status["status"]["conditions"]
        .as_array()
        .unwrap();
    assert!(
        conditions
            .iter()
            .all(|condition| condition["reason"] == "Unreadable"),
        "{conditions:?}"
    );
    assert_eq!(conditions.len(), 3);
}

#[tokio::test]
async fn an_answer_with_a_time_that_nobody_reads_is_an_answer() {
    let api = api(Reply::error(409, "AlreadyExists", "it is there"));
    let odd = json!([{"manager": "x", "operation": "Update", "time": "9999-12-31T23:59:59Z"}]);
    let pod = json!({"metadata": {"name": "bot", "managedFields": odd}, "status": {}});
    api.on("GET", "/pods/bot", Reply::ok(pod));
    let agent = json!({
        "apiVersion": "agentkube.io/v1alpha1", "kind": "Agent",
        "metadata": {"name": "bot", "managedFields": odd}, "spec": {"runtime": "Codex"},
    });
    assert!(serde_json::from_value::<Agent>(agent.clone()).is_err());
    api.on("PATCH", "/agents/bot/status", Reply::ok(agent));
    let context = context(&api, Vec::new());
    let action = context
        .reconcile(&armed().into())
        .await
        .unwrap();
    assert_eq!(action, Action::requeue(NAME_TAKEN_RETRY));
    let status = api.request("PATCH", "/agents/bot/status");
    assert_eq!(ready(&status)["reason"], "PodNameTaken");
}
