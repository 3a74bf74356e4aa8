use std::sync::{Arc, LazyLock, Mutex};

use axum::body::Body;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{Request, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;
use crate::{
    server::{Health, certificates::issue::CertificateAuthority},
    telemetry::{CheckKind, Metrics},
};

/// Authorities to tell apart.
static PEMS: LazyLock<[String; 3]> = LazyLock::new(|| {
    [(); 3].map(|()| {
        let authority =
            CertificateAuthority::new(Duration::from_secs(3600), Timestamp::now()).unwrap();
        authority.certificate_pem().to_owned()
    })
});

fn bundle(which: &[usize]) -> Bundle {
    let pem: String = which
        .iter()
        .map(|index| PEMS[*index].as_str())
        .collect();
    Bundle::parse(pem.as_bytes()).unwrap_or_default()
}

/// A registration whose webhooks hold these, written by this field manager.
fn registration(manager: &str, bundles: &[Option<&str>]) -> MutatingRegistration {
    let webhooks: Vec<_> = bundles
        .iter()
        .enumerate()
        .map(|(index, bundle)| {
            json!({
                "name": format!("webhook-{index}.agentkube.io"),
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "clientConfig": {"caBundle": bundle.map(|bundle| BASE64_STANDARD.encode(bundle))},
            })
        })
        .collect();
    let fields = json!({"f:webhooks": {"k:{\"name\":\"webhook-0.agentkube.io\"}": {"f:clientConfig": {"f:caBundle": {}}}}});
    let object = json!({
        "metadata": {"name": NAME, "uid": "1234", "managedFields": [
            {"manager": manager, "operation": "Update", "fieldsV1": fields},
        ]},
        "webhooks": webhooks,
    });
    serde_json::from_value(object).unwrap()
}

/// One of whose webhooks each holds the same.
fn holding(manager: &str, which: &[usize]) -> MutatingRegistration {
    let pem = bundle(which).pem();
    registration(manager, &[Some(&pem), Some(&pem)])
}

#[derive(Clone)]
struct FakeServer {
    patches: Arc<Mutex<Vec<(String, Value)>>>,
    /// The answer to a patch.
    answer: Arc<MutatingRegistration>,
    /// `ca.crt` of the Secret.
    secret: Arc<Bundle>,
}

impl FakeServer {
    fn new(answer: MutatingRegistration, secret: Bundle) -> Self {
        Self {
            patches: Arc::default(),
            answer: Arc::new(answer),
            secret: Arc::new(secret),
        }
    }

    fn keeper(&self) -> Keeper<MutatingRegistration> {
        let server = self.clone();
        let service = service_fn(move |request: Request<kube::client::Body>| {
            let server = server.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let answer = if head.method == http::Method::PATCH {
                    let body = serde_json::from_slice(&body).unwrap();
                    let call = format!("{} {}", head.method, head.uri);
                    server
                        .patches
                        .lock()
                        .unwrap()
                        .push((call, body));
                    serde_json::to_vec(&*server.answer).unwrap()
                } else {
                    let pem = BASE64_STANDARD.encode(server.secret.pem());
                    json!({"metadata": {"name": secret::NAME}, "data": {"ca.crt": pem}})
                        .to_string()
                        .into_bytes()
                };
                Ok::<_, std::convert::Infallible>(Response::new(Body::from(answer)))
            }
        });
        let client = Client::new(service, "agentkube-system");
        let report = CaBundleReport {
            flag: Health::new(Shutdown::new()).flag("registrations", "waiting"),
            contested: Metrics::new("test").problem(CheckKind::CaBundle),
        };
        let trust = watch::Sender::new(Trust::default());
        let secrets = Api::namespaced(client.clone(), "agentkube-system");
        Keeper::new(client, secrets, trust, Duration::from_secs(3), report)
    }

    /// The bundles that were written, one for each patch.
    fn written(&self) -> Vec<Bundle> {
        self.patches
            .lock()
            .unwrap()
            .iter()
            .map(|(_, patch)| {
                let text = patch["webhooks"][0]["clientConfig"]["caBundle"]
                    .as_str()
                    .unwrap();
                Bundle::parse(&BASE64_STANDARD.decode(text).unwrap()).unwrap()
            })
            .collect()
    }
}

fn apply(keeper: &mut Keeper<MutatingRegistration>, registration: MutatingRegistration) {
    keeper.see(Ok(Event::Apply(Readable::Read(registration))));
}

#[tokio::test]
async fn writes_its_own_fields_and_nothing_else() {
    let server = FakeServer::new(holding(NAME, &[0]), bundle(&[0]));
    let mut keeper = server.keeper();
    apply(&mut keeper, registration("kubectl", &[None, Some("")]));

    assert_eq!(
        keeper
            .settle(&bundle(&[0]), Instant::now())
            .await,
        None
    );

    let patches = server.patches.lock().unwrap();
    let [(call, patch)] = patches.as_slice() else {
        panic!("one call, not {patches:?}")
    };
    assert_eq!(
        call,
        "PATCH /apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/agentkube-manager?&force=true&fieldManager=agentkube-manager"
    );
    let bundle = BASE64_STANDARD.encode(bundle(&[0]).pem());
    let expected = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "agentkube-manager", "uid": "1234"},
        "webhooks": [
            {"name": "webhook-0.agentkube.io", "clientConfig": {"caBundle": bundle}},
            {"name": "webhook-1.agentkube.io", "clientConfig": {"caBundle": bundle}},
        ],
    });
    assert_eq!(*patch, expected);
    // And tells what stands there now.
    let trust = keeper.trust.borrow();
    let seen = trust.mutating.clone();
    drop(trust);
    assert!(
        seen.since(&self::bundle(&[0]).certificates()[0])
            .is_some()
    );
}

#[tokio::test]
async fn a_bundle_that_holds_ours_and_more_is_left_as_it_is() {
    let server = FakeServer::new(holding(NAME, &[]), bundle(&[0]));
    let mut keeper = server.keeper();
    apply(&mut keeper, holding("somebody", &[1, 0]));
    assert_eq!(
        keeper
            .settle(&bundle(&[0]), Instant::now())
            .await,
        None
    );
    assert!(server.written().is_empty());
}

#[tokio::test]
async fn what_another_replica_wrote_is_added_to() {
    let server = FakeServer::new(holding(NAME, &[0, 1]), bundle(&[0]));
    let mut keeper = server.keeper();
    apply(&mut keeper, holding(NAME, &[1]));
    keeper
        .settle(&bundle(&[0]), Instant::now())
        .await;
    assert_eq!(server.written(), [bundle(&[0, 1])]);
}

#[tokio::test]
async fn a_rivals_bundle_is_replaced_twice_and_then_left() {
    let server = FakeServer::new(holding("rival", &[1]), bundle(&[0]));
    let mut keeper = server.keeper();
    for _ in 0..5 {
        apply(&mut keeper, holding("rival", &[1]));
        keeper.backoff = WriteBackoff::default();
        keeper
            .settle(&bundle(&[0]), Instant::now())
            .await;
    }
    assert_eq!(server.written(), [bundle(&[0]), bundle(&[0])]);
    assert!(keeper.said.is_over());

    // Wiped, it is ours again.
    apply(&mut keeper, registration("rival", &[None, None]));
    keeper.backoff = WriteBackoff::default();
    keeper
        .settle(&bundle(&[0]), Instant::now())
        .await;
    assert_eq!(server.written().len(), 3);
}

#[tokio::test]
async fn what_an_annotation_asks_another_to_keep_is_never_written() {
    let server = FakeServer::new(holding(NAME, &[0]), bundle(&[0]));
    let mut keeper = server.keeper();
    let mut injected = registration("kubectl", &[None, None]);
    injected.metadata.annotations = Some(
        [(
            "cert-manager.io/inject-ca-from".to_owned(),
            "ns/name".to_owned(),
        )]
        .into(),
    );
    apply(&mut keeper, injected);
    assert_eq!(
        keeper
            .settle(&bundle(&[0]), Instant::now())
            .await,
        None
    );
    assert!(server.written().is_empty());
}

#[tokio::test]
async fn never_creates_a_registration() {
    let server = FakeServer::new(holding(NAME, &[0]), bundle(&[0]));
    let mut keeper = server.keeper();
    apply(&mut keeper, holding(NAME, &[0]));
    keeper.see(Ok(Event::Init));
    keeper.see(Ok(Event::InitDone));
    assert_eq!(
        keeper
            .settle(&bundle(&[1]), Instant::now())
            .await,
        None
    );
    assert!(server.written().is_empty());
    let trust = keeper.trust.borrow().clone();
    assert!(
        trust
            .mutating
            .since(&bundle(&[0]).certificates()[0])
            .is_none()
    );
}

#[tokio::test]
async fn a_second_write_waits() {
    // Answered as if nothing had been written.
    let server = FakeServer::new(registration(NAME, &[None]), bundle(&[0]));
    let mut keeper = server.keeper();
    apply(&mut keeper, registration(NAME, &[None]));
    assert_eq!(
        keeper
            .settle(&bundle(&[0]), Instant::now())
            .await,
        None
    );
    assert!(
        keeper
            .settle(&bundle(&[0]), Instant::now())
            .await
            .is_some()
    );
    assert_eq!(server.written().len(), 1);
}

#[tokio::test]
async fn what_is_too_much_goes_after_a_while() {
    let server = FakeServer::new(holding(NAME, &[0]), bundle(&[0]));
    let mut keeper = server.keeper();
    apply(&mut keeper, holding(NAME, &[0, 1]));
    let wanted = bundle(&[0]);
    let now = Instant::now();
    let due = keeper
        .settle(&wanted, now)
        .await
        .unwrap();
    assert_eq!(due - now, Duration::from_secs(6));
    assert!(server.written().is_empty());
    assert_eq!(keeper.settle(&wanted, due).await, None);
    assert_eq!(server.written(), [bundle(&[0])]);
}

#[tokio::test]
async fn what_the_secret_still_holds_is_not_too_much() {
    let server = FakeServer::new(holding(NAME, &[0]), bundle(&[0, 1]));
    let mut keeper = server.keeper();
    apply(&mut keeper, holding(NAME, &[0, 1]));
    let wanted = bundle(&[0]);
    let due = keeper
        .settle(&wanted, Instant::now())
        .await
        .unwrap();
    assert!(keeper.settle(&wanted, due).await > Some(due));
    assert!(server.written().is_empty());
}

/// As [`registration`], with a field that differs, read as the watch does.
fn odd(pointer: &str, member: &str, value: Value) -> Readable<MutatingRegistration> {
    let pem = bundle(&[0]).pem();
    let mut object = serde_json::to_value(registration("rival", &[Some(&pem)])).unwrap();
    object.pointer_mut(pointer).unwrap()[member] = value;
    serde_json::from_value(object).unwrap()
}

#[tokio::test]
async fn a_field_that_nobody_needs_is_in_nobodys_way() {
    for (pointer, member, value) in [
        (
            "/metadata/managedFields/0",
            "time",
            json!("9999-12-31T23:59:59Z"),
        ),
        (
            "/metadata",
            "creationTimestamp",
            json!("10000-01-01T00:00:00Z"),
        ),
        ("/webhooks/0", "timeoutSeconds", json!("newer")),
        ("/webhooks/0", "sideEffects", json!({"newer": true})),
    ] {
        let server = FakeServer::new(holding(NAME, &[1]), bundle(&[1]));
        let mut keeper = server.keeper();
        keeper.see(Ok(Event::Apply(odd(pointer, member, value))));
        keeper
            .settle(&bundle(&[1]), Instant::now())
            .await;
        // Whose the bundle was is known all the same: it is not added to.
        assert_eq!(server.written(), [bundle(&[1])], "{member}");
    }
}

#[tokio::test]
async fn a_registration_that_cannot_be_read_is_left_as_it_is_and_said_once() {
    let server = FakeServer::new(holding(NAME, &[0]), bundle(&[0]));
    let mut keeper = server.keeper();
    apply(&mut keeper, holding(NAME, &[0]));
    keeper
        .settle(&bundle(&[0]), Instant::now())
        .await;
    for _ in 0..2 {
        keeper.see(Ok(Event::Apply(odd(
            "/webhooks/0",
            "clientConfig",
            json!("newer"),
        ))));
        assert_eq!(
            keeper
                .settle(&bundle(&[1]), Instant::now())
                .await,
            None
        );
    }
    assert!(server.written().is_empty());
    assert_eq!(
        keeper.said.last(),
        Some(
            "MutatingWebhookConfiguration `agentkube-manager` is left unchanged: this version of agentkube cannot read webhooks[0].clientConfig (hint: correct that field, or run the release that wrote it)"
        )
    );
    // Mended, it is ours again.
    apply(&mut keeper, holding(NAME, &[0]));
    keeper
        .settle(&bundle(&[1]), Instant::now())
        .await;
    assert_eq!(server.written(), [bundle(&[1, 0])]);
}
