use agentkube::images::{Component, resolve};
use serde_json::json;

use super::*;
use crate::commands::intrude::{audit::Event, cast::Role, shorten::shorten};

const ADMIN: &str = "admin";
const AUTHOR: &str = "author";
const PODS: &str = "pods";

/// A log that is written by hand.
#[derive(Default)]
struct Log {
    events: Vec<Event>,
    windows: Vec<Window>,
}

impl Log {
    fn write(&mut self, user: &str, verb: &str, resource: &str, mut object: Value, request: Value) {
        let number = self.events.len() + 1;
        object["metadata"]["resourceVersion"] = json!(number.to_string());
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap()
            .to_owned();
        self.events.push(Event {
            received: moment(number),
            at: moment(number),
            user: user.to_owned(),
            verb: verb.to_owned(),
            resource: resource.to_owned(),
            namespace: "intrude-0".to_owned(),
            name,
            code: 200,
            request,
            response: object,
        });
    }

    fn agent(&mut self, user: &str, verb: &str, generation: i64, spec: &Value) {
        self.write(
            user,
            verb,
            "agents",
            agent("u1", generation, spec),
            Value::Null,
        );
    }

    fn pod(&mut self, user: &str, verb: &str, pod: Value) {
        self.write(user, verb, "pods", pod, Value::Null);
    }

    /// What is wrong with which words.
    fn judge(self) -> Vec<(Wrong, String, usize)> {
        let history = History::new(self.events);
        let rights = Rights(
            [
                (ADMIN, Role::Admin),
                (AUTHOR, Role::Agents),
                (PODS, Role::Pods),
            ]
            .map(|(user, role)| (user.to_owned(), vec![role]))
            .into(),
        );
        let judge = Judge {
            rights: &rights,
            windows: &self.windows,
            settings: &ImageSettings::default(),
            namespace: "intrude-0",
        };
        judge
            .judge(&history)
            .into_iter()
            .map(|finding| {
                let steps = shorten(&history, &finding).len();
                (finding.wrong, finding.because, steps)
            })
            .collect()
    }

    fn wrong(self) -> Vec<Wrong> {
        self.judge()
            .into_iter()
            .map(|(wrong, ..)| wrong)
            .collect()
    }
}

fn moment(number: usize) -> Timestamp {
    Timestamp::from_second(i64::try_from(number).unwrap()).unwrap()
}

fn agent(uid: &str, generation: i64, spec: &Value) -> Value {
    json!({"kind": "Agent", "metadata": {"name": "a", "uid": uid, "generation": generation}, "spec": spec})
}

fn spec(image: &str, account: Option<&str>, paused: bool) -> Value {
    let mut spec =
        json!({"runtime": "Codex", "mode": "supervised", "image": image, "paused": paused});
    if let Some(account) = account {
        spec["serviceAccountName"] = json!(account);
    }
    spec
}

/// The pod that the manager makes of such a spec.
fn pod(image: &str, account: &str) -> Value {
    let agentlet = resolve(Component::Agentlet, None, &ImageSettings::default())
        .unwrap()
        .image;
    let agentlet = agentlet.as_str();
    json!({
        "kind": "Pod",
        "metadata": {
            "name": "a", "uid": "p1", "labels": {"agentkube.io/agent": "a"},
            "ownerReferences": [{
                "apiVersion": "agentkube.io/v1alpha1", "kind": "Agent", "name": "a", "uid": "u1", "controller": true,
            }],
        },
        "spec": {
            "serviceAccountName": account,
            "containers": [{"name": "agent", "image": image}],
            "initContainers": [{"name": "agentlet", "image": agentlet, "env": [
                {"name": "AGENTKUBE_AGENT_NAME", "value": "a"},
                {"name": "AGENTKUBE_AGENT_NAMESPACE", "value": "intrude-0"},
                {"name": "AGENTKUBE_AGENT_RUNTIME", "value": "Codex"},
                {"name": "AGENTKUBE_AGENT_MODE", "value": "supervised"},
            ]}],
        },
    })
}

const ONE: &str = "registry.example.com/one:v1";
const TWO: &str = "registry.example.com/two:v1";
const ELSEWHERE: &str = "quay.io/evil/x:v1";

/// Images of these pods are judged apart, in the tests of registries.
fn others(found: Vec<Wrong>) -> Vec<Wrong> {
    found
        .into_iter()
        .filter(|wrong| *wrong != Wrong::Registry)
        .collect()
}

#[test]
fn a_pod_of_what_its_author_may_use_is_right() {
    let mut log = Log::default();
    log.agent(ADMIN, "create", 1, &spec(ONE, Some("victim"), true));
    log.agent(AUTHOR, "patch", 2, &spec(ONE, Some("victim"), false));
    log.pod(MANAGER, "create", pod(ONE, "victim"));
    assert_eq!(others(log.wrong()), []);
}

#[test]
fn a_pod_of_two_states_is_found_and_both_are_shown() {
    let mut log = Log::default();
    log.agent(ADMIN, "create", 1, &spec(ONE, Some("victim"), true));
    log.agent(AUTHOR, "patch", 2, &spec(ONE, Some("victim"), false));
    log.agent(AUTHOR, "patch", 3, &spec(TWO, None, false));
    log.pod(MANAGER, "create", pod(TWO, "victim"));
    let found = log.judge();
    let (wrong, because, steps) = &found[0];
    assert_eq!(*wrong, Wrong::Mixed);
    assert!(
        because.contains("account from generation 1 or 2"),
        "{because}"
    );
    assert!(because.contains("images from generation 3"), "{because}");
    assert_eq!(*steps, 4);
}

#[test]
fn a_state_that_came_later_explains_nothing() {
    let mut log = Log::default();
    log.agent(ADMIN, "create", 1, &spec(ONE, None, false));
    log.pod(MANAGER, "create", pod(TWO, "default"));
    log.agent(ADMIN, "patch", 2, &spec(TWO, None, false));
    assert_eq!(others(log.wrong()), [Wrong::Mixed]);
}

#[test]
fn what_the_last_writer_may_not_use_is_lent() {
    let mut log = Log::default();
    log.agent(AUTHOR, "create", 1, &spec(ONE, Some("victim"), false));
    log.pod(MANAGER, "create", pod(ONE, "victim"));
    let found = log.judge();
    assert_eq!(found[0].0, Wrong::Lent);
    assert_eq!(
        found[0].1,
        "author wrote generation 1 of the Agent \"a\", and has no right to ServiceAccount victim"
    );

    // Who changes the image of what somebody else wrote is its writer, ...
    let mut log = Log::default();
    log.agent(ADMIN, "create", 1, &spec(ONE, Some("victim"), false));
    log.agent(AUTHOR, "patch", 2, &spec(TWO, Some("victim"), false));
    log.pod(MANAGER, "create", pod(TWO, "victim"));
    assert_eq!(others(log.wrong()), [Wrong::Lent]);
    // ... and what somebody has no right to is not theirs for the image before.
    let mut log = Log::default();
    log.agent(ADMIN, "create", 1, &spec(ONE, Some("victim"), false));
    log.agent(AUTHOR, "patch", 2, &spec(TWO, Some("victim"), false));
    log.pod(MANAGER, "create", pod(ONE, "victim"));
    assert_eq!(others(log.wrong()), []);
}

#[test]
fn a_pod_of_an_object_that_goes_or_rests_is_found() {
    let mut log = Log::default();
    log.agent(ADMIN, "create", 1, &spec(ONE, None, false));
    let mut going = agent("u1", 2, &spec(TWO, None, false));
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    log.write(ADMIN, "patch", "agents", going, Value::Null);
    log.pod(MANAGER, "create", pod(TWO, "default"));
    assert_eq!(others(log.wrong()), [Wrong::Deleting]);

    let mut log = Log::default();
    log.agent(ADMIN, "create", 1, &spec(ONE, None, true));
    log.pod(MANAGER, "create", pod(ONE, "default"));
    assert_eq!(others(log.wrong()), [Wrong::Paused]);
}

#[test]
fn a_pod_of_nobody_is_found() {
    let mut log = Log::default();
    log.pod(MANAGER, "create", pod(ONE, "default"));
    assert_eq!(others(log.wrong()), [Wrong::Unknown]);
}

/// Somebody's own pod with a placeholder, as it was sent and as it was stored.
fn borrowed(log: &mut Log, secret: Option<&str>, account: &str) {
    let request = json!({
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {"agentkube.io/agent": "a"}},
        "spec": {"serviceAccountName": account, "containers": [{"name": "agent", "image": "agentkube.invalid/agent"}]},
    });
    let mut stored = request.clone();
    stored["metadata"]["uid"] = json!("p2");
    stored["spec"]["containers"][0]["image"] = json!(ONE);
    if let Some(secret) = secret {
        let source = json!({"secretKeyRef": {"name": secret, "key": "key"}});
        stored["spec"]["containers"][0]["env"] =
            json!([{"name": "OPENAI_API_KEY", "valueFrom": source}]);
    }
    log.write(PODS, "create", "pods", stored, request);
}

#[test]
fn what_admission_fills_into_somebody_elses_pod_is_the_agents_writers() {
    let mut log = Log::default();
    let mut with_token = spec(ONE, None, true);
    with_token["agentToken"] = json!({"secretRef": {"name": "victim", "key": "key"}});
    log.agent(AUTHOR, "create", 1, &with_token);
    borrowed(&mut log, Some("victim"), "default");
    assert_eq!(log.wrong(), [Wrong::Lent]);

    let mut log = Log::default();
    log.agent(AUTHOR, "create", 1, &spec(ONE, None, true));
    borrowed(&mut log, None, "victim");
    assert_eq!(log.wrong(), [Wrong::Steered]);

    let mut log = Log::default();
    log.agent(AUTHOR, "create", 1, &spec(TWO, None, true));
    borrowed(&mut log, None, "victim");
    assert_eq!(log.wrong(), [Wrong::Mixed]);

    let mut log = Log::default();
    log.agent(ADMIN, "create", 1, &spec(ONE, None, true));
    borrowed(&mut log, None, "victim");
    assert_eq!(log.wrong(), []);
}

/// A pod with a label, or that had one.
fn labelled(image: &str, label: Option<&str>) -> Value {
    let mut pod = json!({
        "kind": "Pod", "metadata": {"name": "q", "uid": "p3", "labels": {}},
        "spec": {"containers": [{"name": "agent", "image": image}]},
    });
    if let Some(label) = label {
        pod["metadata"]["labels"]["agentkube.io/agent"] = json!(label);
    }
    pod
}

#[test]
fn an_image_from_elsewhere_is_found_also_once_the_label_is_gone() {
    let mut log = Log::default();
    log.pod(PODS, "create", labelled(ONE, Some("a")));
    log.pod(PODS, "patch", labelled(ELSEWHERE, None));
    let found = log.judge();
    assert_eq!(
        found,
        [(
            Wrong::Registry,
            format!("containers/agent has {ELSEWHERE}"),
            2
        )]
    );
    // A pod that was nobody's may have any.
    let mut log = Log::default();
    log.pod(PODS, "create", labelled(ELSEWHERE, None));
    assert_eq!(log.wrong(), []);
}

#[test]
fn what_came_while_nobody_was_asked_is_excused_and_nothing_else() {
    let windows = vec![Window {
        from: moment(1),
        to: moment(1),
    }];
    let mut log = Log {
        windows: windows.clone(),
        ..Log::default()
    };
    log.pod(PODS, "create", labelled(ELSEWHERE, Some("a")));
    log.pod(PODS, "patch", labelled(ELSEWHERE, Some("a")));
    assert_eq!(log.wrong(), []);

    let mut log = Log {
        windows,
        ..Log::default()
    };
    log.pod(PODS, "create", labelled(ONE, Some("a")));
    log.pod(PODS, "patch", labelled(ELSEWHERE, Some("a")));
    assert_eq!(log.wrong(), [Wrong::Registry]);

    let mut log = Log::default();
    log.pod(
        PODS,
        "create",
        labelled("agentkube.invalid/agent", Some("a")),
    );
    assert_eq!(log.wrong(), [Wrong::Placeholder]);
}

#[test]
fn who_may_patch_pods_chooses_an_image_in_a_pod_that_is_completed_at_once() {
    let placeholder = |image: &str| {
        let mut pod = pod(image, "default");
        pod["spec"]["initContainers"][0]["image"] = json!("agentkube.invalid/agentlet");
        pod
    };
    let patched = |request: Value| {
        // The pod is created while admission is away.
        let away = Window {
            from: moment(2),
            to: moment(2),
        };
        let mut log = Log {
            windows: vec![away],
            ..Log::default()
        };
        log.agent(ADMIN, "create", 1, &spec(ONE, None, false));
        log.pod(MANAGER, "create", placeholder("agentkube.invalid/agent"));
        log.write(PODS, "patch", "pods", pod(TWO, "default"), request);
        others(log.wrong())
    };
    let images = json!({"spec": {"containers": [{"name": "agent", "image": TWO}]}});
    assert_eq!(patched(images), []);
    // A user who only wrote a label has not chosen the image.
    let label = json!({"metadata": {"labels": {"team": "red"}}});
    assert_eq!(patched(label), [Wrong::Mixed]);
}

#[test]
fn what_was_refused_is_no_state() {
    let mut log = Log::default();
    log.agent(ADMIN, "create", 1, &spec(ONE, None, false));
    log.agent(AUTHOR, "patch", 2, &spec(ONE, Some("victim"), false));
    log.events[1].code = 403;
    log.pod(MANAGER, "create", pod(ONE, "victim"));
    assert_eq!(others(log.wrong()), [Wrong::Mixed]);
}

#[test]
fn who_only_finds_a_state_has_not_written_it() {
    // The log may have who found it before who created it.
    let mut log = Log::default();
    log.agent(AUTHOR, "patch", 1, &spec(ONE, Some("victim"), false));
    log.agent(ADMIN, "create", 1, &spec(ONE, Some("victim"), false));
    let revision = json!("2");
    log.events[0].response["metadata"]["resourceVersion"] = revision;
    log.events[1].code = 201;
    log.pod(MANAGER, "create", pod(ONE, "victim"));
    assert_eq!(others(log.wrong()), []);

    // Where it does not say who of two has stored it, neither is accused; ...
    let found = |received: usize| {
        let mut log = Log::default();
        log.agent(AUTHOR, "create", 1, &spec(TWO, Some("victim"), false));
        log.agent(AUTHOR, "patch", 2, &spec(ONE, Some("victim"), false));
        log.agent(ADMIN, "patch", 2, &spec(ONE, Some("victim"), false));
        log.events[2].response["metadata"]["resourceVersion"] = json!("2");
        log.events[2].received = moment(received);
        log.pod(MANAGER, "create", pod(ONE, "victim"));
        others(log.wrong())
    };
    assert_eq!(found(1), []);
    // ... but who came once it was there has not.
    assert_eq!(found(3), [Wrong::Lent]);
}
