use std::sync::Mutex;

use axum::body::Body;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use tower::service_fn;

use k8s_openapi::ByteString;

use super::*;
use crate::server::certificates::issue::{CertificateAuthority, names_in};

const HOUR: Duration = Duration::from_secs(3600);

/// The one Secret of an API server that knows no other, with what was asked of it.
#[derive(Default)]
struct FakeServer {
    secret: Mutex<Option<Secret>>,
    /// Appears just before the next creation, as another replica's would.
    rival: Mutex<Option<Secret>>,
    calls: Mutex<Vec<String>>,
}

impl FakeServer {
    fn with(secret: Option<Secret>) -> Arc<Self> {
        let server = Self::default();
        if let Some(secret) = secret {
            server.store(secret);
        }
        Arc::new(server)
    }

    fn client(self: &Arc<Self>) -> Client {
        let server = self.clone();
        let service = service_fn(move |request: Request<kube::client::Body>| {
            let server = server.clone();
            async move {
                let (head, body) = request.into_parts();
                let bytes = body.collect().await.unwrap().to_bytes();
                Ok::<_, std::convert::Infallible>(server.answer(&head.method, &bytes))
            }
        });
        Client::new(service, "agentkube-system")
    }

    fn answer(&self, method: &Method, body: &[u8]) -> Response<Body> {
        self.calls
            .lock()
            .unwrap()
            .push(method.to_string());
        if let Some(rival) = self
            .rival
            .lock()
            .unwrap()
            .take_if(|_| method == Method::POST)
        {
            self.store(rival);
        }
        let current = self.secret.lock().unwrap().clone();
        match (method, current) {
            (&Method::GET, Some(secret)) => object(&secret),
            (&Method::GET, None) => failure(404, "NotFound"),
            (&Method::POST, Some(_)) => failure(409, "AlreadyExists"),
            (&Method::POST, None) => object(&self.store(serde_json::from_slice(body).unwrap())),
            (&Method::PUT, Some(current)) => {
                let wanted: Secret = serde_json::from_slice(body).unwrap();
                if wanted.metadata.resource_version != current.metadata.resource_version {
                    return failure(409, "Conflict");
                }
                object(&self.store(wanted))
            }
            (method, _) => panic!("{method} was not expected"),
        }
    }

    fn store(&self, mut secret: Secret) -> Secret {
        let mut current = self.secret.lock().unwrap();
        let version = current
            .as_ref()
            .and_then(|secret| {
                secret
                    .metadata
                    .resource_version
                    .as_ref()
            })
            .map_or(0, |version| version.parse::<u64>().unwrap());
        secret.metadata.resource_version = Some((version + 1).to_string());
        *current = Some(secret.clone());
        secret
    }

    fn current(&self) -> Secret {
        self.secret
            .lock()
            .unwrap()
            .clone()
            .unwrap()
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

fn object(secret: &Secret) -> Response<Body> {
    Response::new(Body::from(serde_json::to_vec(secret).unwrap()))
}

fn failure(code: u16, reason: &str) -> Response<Body> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason});
    let mut response = Response::new(Body::from(status.to_string()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

fn names() -> Vec<String> {
    vec![
        "agentkube-manager.agentkube-system.svc".to_owned(),
        "127.0.0.1".to_owned(),
    ]
}

fn replica(server: &Arc<FakeServer>) -> SecretCertificates {
    replica_with(server, Lifetimes::default()).0
}

fn replica_with(
    server: &Arc<FakeServer>,
    lifetimes: Lifetimes,
) -> (SecretCertificates, watch::Sender<Trust>) {
    let trust = watch::Sender::new(Trust::default());
    let replica = SecretCertificates::new(
        server.client(),
        "agentkube-system",
        names(),
        lifetimes,
        Arc::default(),
        trust.subscribe(),
    );
    (replica, trust)
}

/// One attempt from what the watch told.
async fn ensure(
    replica: &mut SecretCertificates,
    known: Option<Secret>,
) -> Result<Option<Instant>, SecretError> {
    replica.known = if let Some(secret) = known {
        Known::Present(Box::new(secret))
    } else {
        replica.last_good = None;
        Known::Absent
    };
    replica.ensure().await
}

fn good_secret(names: &[String]) -> Secret {
    let now = Timestamp::now();
    let lifetimes = Lifetimes::new(HOUR, HOUR).unwrap();
    new_secret(rotation::fresh(lifetimes, names, now).unwrap())
}

fn with_field(mut secret: Secret, key: &str, value: &[u8]) -> Secret {
    secret
        .data
        .as_mut()
        .unwrap()
        .insert(key.to_owned(), ByteString(value.to_vec()));
    secret
}

fn authority_in(data: &Data) -> Option<CertificateAuthority> {
    CertificateAuthority::from_pem(
        &data.get("ca.crt")?.0,
        &data.get("ca.key")?.0,
        Timestamp::now(),
    )
    .ok()
}

fn served(replica: &SecretCertificates) -> Vec<u8> {
    replica.serving.pair().unwrap().chain()[0].to_vec()
}

fn trusted(replica: &SecretCertificates) -> Vec<u8> {
    replica
        .authorities
        .borrow()
        .as_deref()
        .unwrap()
        .pem()
        .into_bytes()
}

#[tokio::test]
async fn creates_an_absent_secret_and_serves_it() {
    let server = FakeServer::with(None);
    let mut replica = replica(&server);

    ensure(&mut replica, None)
        .await
        .unwrap();

    assert_eq!(server.calls(), ["POST"]);
    let secret = server.current();
    assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/tls"));
    assert_eq!(
        secret.metadata.labels.unwrap()["app.kubernetes.io/managed-by"],
        "agentkube"
    );
    let keys: Vec<_> = secret
        .data
        .unwrap()
        .into_keys()
        .collect();
    assert_eq!(keys, ["ca.crt", "ca.key", "tls.crt", "tls.key"]);
    let pair = replica.serving.pair().unwrap();
    assert_eq!(
        pair.verify(&trusted(&replica), &names(), Timestamp::now()),
        Ok(())
    );
}

#[tokio::test]
async fn a_replica_that_comes_second_takes_the_first_ones_authority() {
    let server = FakeServer::with(None);
    let rival = good_secret(&names());
    *server.rival.lock().unwrap() = Some(rival.clone());
    let mut replica = replica(&server);

    ensure(&mut replica, None)
        .await
        .unwrap();

    assert_eq!(server.calls(), ["POST", "GET"]);
    assert_eq!(trusted(&replica), rival.data.unwrap()["ca.crt"].0);
}

/// As the watch shows a Secret with a member that differs.
fn odd(secret: &Secret, pointer: &str, value: serde_json::Value) -> Known {
    let mut object = serde_json::to_value(secret).unwrap();
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[member] = value;
    assert!(serde_json::from_value::<Secret>(object.clone()).is_err());
    Known::of(serde_json::from_value(object).unwrap())
}

#[tokio::test]
async fn a_time_in_a_secret_that_nobody_reads_does_not_matter() {
    let secret = good_secret(&names());
    let managers = json!([{"manager": "x", "operation": "Update", "time": "9999-12-31T23:59:59Z"}]);
    let server = FakeServer::with(Some(secret.clone()));
    let mut replica = replica(&server);
    replica.known = odd(&secret, "/metadata/managedFields", managers);

    replica.ensure().await.unwrap();

    assert_eq!(trusted(&replica), secret.data.unwrap()["ca.crt"].0);
    assert!(server.calls().is_empty());
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_left_as_it_is_while_its_pair_is_served() {
    let server = FakeServer::with(None);
    let mut replica = replica(&server);
    ensure(&mut replica, None)
        .await
        .unwrap();
    let before = served(&replica);
    replica.known = odd(&server.current(), "/data", json!("newer"));

    let error = replica.ensure().await.unwrap_err();

    assert_eq!(
        error.to_string(),
        "this version of agentkube cannot read data (hint: correct that field, or run the release that wrote it)"
    );
    assert_eq!(server.calls(), ["POST"]);
    assert_eq!(served(&replica), before);
    // Mended, it is read again.
    replica.known = Known::Nothing;
    replica.ensure().await.unwrap();
    assert_eq!(server.calls(), ["POST", "GET"]);
}

#[tokio::test]
async fn many_replicas_at_once_agree_on_one_authority() {
    let server = FakeServer::with(None);
    let mut starting = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mut replica = replica(&server);
        starting.spawn(async move {
            ensure(&mut replica, None)
                .await
                .unwrap();
            (served(&replica), trusted(&replica))
        });
    }
    let outcomes = starting.join_all().await;
    assert!(
        outcomes
            .windows(2)
            .all(|two| two[0] == two[1])
    );
}

#[tokio::test]
async fn a_good_secret_is_served_as_it_is() {
    let server = FakeServer::with(Some(good_secret(&names())));
    let mut replica = replica(&server);
    ensure(&mut replica, Some(server.current()))
        .await
        .unwrap();
    assert_eq!(server.calls(), Vec::<String>::new());
    assert!(replica.serving.pair().is_some());
}

#[tokio::test]
async fn a_flawed_secret_is_mended_under_its_own_authority() {
    let now = Timestamp::now();
    let good = good_secret(&names());
    let stranger = good_secret(&names());
    let foreign_key = stranger.data.unwrap()["tls.key"]
        .0
        .clone();
    let authority = authority_in(good.data.as_ref().unwrap()).unwrap();
    let long_ago = now - Duration::from_secs(1800);
    let expired = authority
        .issue(&names(), Duration::from_secs(60), long_ago)
        .unwrap();
    let expired = {
        let secret = with_field(good.clone(), "tls.crt", expired.chain_pem.as_bytes());
        with_field(secret, "tls.key", expired.key_pem.as_bytes())
    };
    for flawed in [
        with_field(good.clone(), "tls.crt", b""),
        with_field(
            good.clone(),
            "tls.crt",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
        with_field(good.clone(), "tls.key", &foreign_key),
        expired,
    ] {
        let server = FakeServer::with(Some(with_field(flawed, "note", b"kept")));
        let mut replica = replica(&server);

        ensure(&mut replica, Some(server.current()))
            .await
            .unwrap();

        assert_eq!(server.calls(), ["PUT"]);
        let data = server.current().data.unwrap();
        assert_eq!(data["ca.crt"], good.data.as_ref().unwrap()["ca.crt"]);
        assert_eq!(data["note"].0, b"kept");
        let pair = replica.serving.pair().unwrap();
        assert_eq!(pair.verify(&trusted(&replica), &names(), now), Ok(()));
    }
}

#[tokio::test]
async fn a_certificate_for_other_names_keeps_them() {
    let other = "agentkube-manager.elsewhere.svc".to_owned();
    let server = FakeServer::with(Some(good_secret(std::slice::from_ref(&other))));
    let mut replica = replica(&server);

    ensure(&mut replica, Some(server.current()))
        .await
        .unwrap();

    let covered = names_in(&server.current().data.unwrap()["tls.crt"].0);
    assert!(
        names()
            .iter()
            .chain([&other])
            .all(|name| covered.contains(name)),
        "{covered:?}"
    );
}

#[tokio::test]
async fn an_emptied_secret_gets_a_new_authority() {
    let empty = Secret {
        data: None,
        ..good_secret(&names())
    };
    let server = FakeServer::with(Some(empty));
    let mut replica = replica(&server);
    ensure(&mut replica, Some(server.current()))
        .await
        .unwrap();
    assert!(authority_in(&server.current().data.unwrap()).is_some());
}

#[tokio::test]
async fn a_secret_emptied_while_serving_gets_the_last_good_authority_back() {
    let server = FakeServer::with(Some(good_secret(&names())));
    let mut replica = replica(&server);
    ensure(&mut replica, Some(server.current()))
        .await
        .unwrap();
    let before = trusted(&replica);

    let emptied = server.store(Secret {
        data: None,
        ..server.current()
    });
    ensure(&mut replica, Some(emptied))
        .await
        .unwrap();

    assert_eq!(trusted(&replica), before);
}

#[tokio::test]
async fn a_secret_that_somebody_else_mended_meanwhile_is_taken() {
    let flawed = with_field(good_secret(&names()), "tls.key", b"");
    let server = FakeServer::with(Some(flawed));
    let stale = server.current();
    let mended = server.store(good_secret(&names()));
    let mut replica = replica(&server);

    ensure(&mut replica, Some(stale))
        .await
        .unwrap();

    assert_eq!(server.calls(), ["PUT", "GET"]);
    assert_eq!(trusted(&replica), mended.data.unwrap()["ca.crt"].0);
}

#[tokio::test]
async fn a_flaw_that_cannot_be_mended_leaves_the_last_good_pair() {
    let server = FakeServer::with(Some(good_secret(&names())));
    let mut replica = replica(&server);
    ensure(&mut replica, Some(server.current()))
        .await
        .unwrap();
    let before = served(&replica);

    // A name that no certificate can carry stands for any failure to issue.
    replica.names.push("näme".to_owned());
    let flawed = with_field(server.current(), "tls.key", b"");
    ensure(&mut replica, Some(flawed))
        .await
        .unwrap_err();

    assert_eq!(served(&replica), before);
}

#[tokio::test]
async fn a_pair_of_another_authority_is_served_only_once_that_is_trusted() {
    let server = FakeServer::with(Some(good_secret(&names())));
    let (mut replica, trust) = replica_with(&server, Lifetimes::default());
    ensure(&mut replica, Some(server.current()))
        .await
        .unwrap();
    let before = served(&replica);
    let old = trusted(&replica);

    let other = good_secret(&names());
    let new = other.data.as_ref().unwrap()["ca.crt"]
        .0
        .clone();
    ensure(&mut replica, Some(other.clone()))
        .await
        .unwrap();

    assert_eq!(served(&replica), before);
    assert_eq!(trusted(&replica), [new.clone(), old].concat());

    // The registrations hold both for long enough by now.
    let both = Bundle::parse(&trusted(&replica)).unwrap();
    let long_ago = Instant::now() - Lifetimes::default().overlap();
    trust.send_modify(|trust| {
        trust.mutating.update(&both, long_ago);
        trust.validating.update(&both, long_ago);
    });
    ensure(&mut replica, Some(other))
        .await
        .unwrap();
    assert_ne!(served(&replica), before);
    assert_eq!(trusted(&replica), new);
}

#[tokio::test]
async fn a_deleted_secret_leaves_the_served_pair_until_another_is_trusted() {
    let server = FakeServer::with(Some(good_secret(&names())));
    let mut replica = replica(&server);
    ensure(&mut replica, Some(server.current()))
        .await
        .unwrap();
    let before = served(&replica);

    *server.secret.lock().unwrap() = None;
    ensure(&mut replica, None)
        .await
        .unwrap();

    assert_eq!(served(&replica), before);
    let wanted = Bundle::parse(&trusted(&replica)).unwrap();
    assert_eq!(wanted.certificates().len(), 2);
}

#[tokio::test]
async fn an_expired_pair_gives_way_at_once() {
    let server = FakeServer::with(Some(good_secret(&names())));
    let mut replica = replica(&server);
    let long_ago = Timestamp::now() - HOUR;
    let expired = CertificateAuthority::new(HOUR, long_ago)
        .unwrap()
        .issue(&names(), HOUR / 2, long_ago)
        .unwrap();
    let expired = crate::server::certificates::pair::Pair::load(
        expired.chain_pem.as_bytes(),
        expired.key_pem.as_bytes(),
    );
    replica
        .serving
        .replace(Arc::new(expired.unwrap()));

    ensure(&mut replica, Some(server.current()))
        .await
        .unwrap();

    assert!(
        replica
            .serving
            .check(Timestamp::now())
            .is_ok()
    );
}

#[tokio::test]
async fn what_is_due_is_written_by_one_replica_and_read_by_the_other() {
    let past = Timestamp::now() - HOUR * 5 / 6;
    let lifetimes = Lifetimes::new(HOUR * 2, HOUR).unwrap();
    let due = new_secret(rotation::fresh(lifetimes, &names(), past).unwrap());
    let server = FakeServer::with(Some(due));
    let stale = server.current();
    let [(mut first, _), (mut second, _)] = [0, 1].map(|_| replica_with(&server, lifetimes));

    ensure(&mut first, Some(stale.clone()))
        .await
        .unwrap();
    ensure(&mut second, Some(stale))
        .await
        .unwrap();

    assert_eq!(server.calls(), ["PUT", "PUT", "GET"]);
    let stored = &server.current().data.unwrap()["tls.crt"];
    for replica in [&mut first, &mut second] {
        assert_eq!(
            crate::server::certificates::pair::certificates(&stored.0).unwrap()[0].as_ref(),
            replica
                .last_good
                .as_ref()
                .unwrap()
                .pair
                .chain()[0]
                .as_ref()
        );
    }
}
