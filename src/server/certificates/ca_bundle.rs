//! How the API server comes to trust our certificate: the authorities, written into both
//! registrations and kept there.

use std::{fmt::Debug, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::{StreamExt, pin_mut};
use k8s_openapi::{
    ByteString, ClusterResourceScope,
    api::admissionregistration::v1::{
        MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    api::MANAGER,
    server::{
        Shutdown,
        certificates::{Said, secret::Authorities},
        probes::Flag,
    },
};

/// The name of both registrations
pub const NAME: &str = MANAGER;

/// Keeps the authorities in both registrations' `caBundle` until the shutdown has finished
///
/// Written by server-side apply, and only where it differs: everything else stays with its owner. A
/// registration that does not exist is never created, only waited for. Another writer is answered
/// at a falling pace, so that two programs do not fight at full speed. Each flag passes once its
/// registration has been seen with the authorities in it, and stays: a replica that left the
/// Service over a later quarrel would help nobody.
///
/// Needs RBAC: `list` and `watch` on `mutatingwebhookconfigurations` and
/// `validatingwebhookconfigurations`, and `patch` on those named [`NAME`].
pub async fn keep(
    client: Client,
    authorities: watch::Receiver<Authorities>,
    mutating: Flag,
    validating: Flag,
    shutdown: Shutdown,
) {
    let mutate = Keeper::<MutatingWebhookConfiguration>::new(client.clone(), mutating);
    let validate = Keeper::<ValidatingWebhookConfiguration>::new(client, validating);
    let both = futures::future::join(mutate.run(authorities.clone()), validate.run(authorities));
    tokio::select! {
        _ = both => {}
        () = shutdown.finished() => {}
    }
}

/// The two kinds of registrations, which differ in their types alone
trait Registration:
    Resource<DynamicType = (), Scope = ClusterResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + 'static
{
    fn bundles(&self) -> Vec<(String, Option<ByteString>)>;
}

impl Registration for MutatingWebhookConfiguration {
    fn bundles(&self) -> Vec<(String, Option<ByteString>)> {
        self.webhooks
            .iter()
            .flatten()
            .map(|webhook| bundle(&webhook.name, &webhook.client_config))
            .collect()
    }
}

impl Registration for ValidatingWebhookConfiguration {
    fn bundles(&self) -> Vec<(String, Option<ByteString>)> {
        self.webhooks
            .iter()
            .flatten()
            .map(|webhook| bundle(&webhook.name, &webhook.client_config))
            .collect()
    }
}

fn bundle(name: &str, config: &WebhookClientConfig) -> (String, Option<ByteString>) {
    (name.to_owned(), config.ca_bundle.clone())
}

struct Keeper<K> {
    api: Api<K>,
    flag: Flag,
    live: Option<Live>,
    pace: Pace,
    said: Said,
}

impl<K: Registration> Keeper<K> {
    fn new(client: Client, flag: Flag) -> Self {
        Self {
            api: Api::all(client),
            flag,
            live: None,
            pace: Pace::default(),
            said: Said::default(),
        }
    }

    async fn run(mut self, mut authorities: watch::Receiver<Authorities>) {
        let config = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
        let events = watcher(self.api.clone(), config).default_backoff();
        pin_mut!(events);
        let mut retry: Option<Instant> = None;
        let mut known: Authorities = None;
        loop {
            let seen = tokio::select! {
                event = events.next() => match event {
                    Some(event) => {
                        self.see(event);
                        true
                    }
                    None => return,
                },
                Ok(()) = authorities.changed() => false,
                () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {
                    retry = None;
                    false
                }
            };
            let now_known = authorities.borrow_and_update().clone();
            if now_known != known {
                // The pace is for quarrels: until new authorities stand there, nobody can call us.
                self.pace = Pace::default();
                known = now_known;
            }
            let Some(wanted) = &known else { continue };
            retry = if seen && self.is_rival(wanted) {
                // Another replica may know newer authorities, and our own watch of the Secret is
                // about to say so: undoing its write at once would cut the API server off.
                retry.or_else(|| Some(Instant::now() + RIVAL_PAUSE))
            } else {
                self.put(wanted).await
            };
        }
    }

    /// Whether somebody else's authorities stand there, rather than none
    fn is_rival(&self, wanted: &[u8]) -> bool {
        self.live
            .as_ref()
            .is_some_and(|live| !live.carries(wanted) && !live.lacks())
    }

    fn see(&mut self, event: Result<Event<K>, watcher::Error>) {
        match event {
            Ok(Event::Init) => self.live = None,
            Ok(Event::InitApply(registration) | Event::Apply(registration)) => {
                self.live = Some(Live::of(&registration));
            }
            Ok(Event::InitDone) if self.live.is_some() => {}
            Ok(Event::InitDone | Event::Delete(_)) => {
                self.live = None;
                let why = format!(
                    "{} `{NAME}` does not exist (hint: apply the manifests)",
                    K::kind(&())
                );
                self.trouble(why);
            }
            Err(error) => self.trouble(format!(
                "{} `{NAME}` cannot be watched: {error}",
                K::kind(&())
            )),
        }
    }

    /// Writes the authorities if they are not there, and says when to look again if that did not
    /// succeed
    async fn put(&mut self, wanted: &Arc<[u8]>) -> Option<Instant> {
        let live = self.live.as_ref()?;
        if live.carries(wanted) {
            self.flag.pass();
            if self.said.over() {
                tracing::info!(registration = NAME, kind = %K::kind(&()), "caBundle is in order again");
            }
            return None;
        }
        let now = Instant::now();
        if let Some(later) = self.pace.wait_until(now) {
            return Some(later);
        }
        let patch = apply_patch::<K>(live, wanted);
        let params = PatchParams::apply(NAME).force();
        self.pace.wrote(now);
        match self
            .api
            .patch(NAME, &params, &Patch::Apply(&patch))
            .await
        {
            Ok(registration) => {
                tracing::info!(registration = NAME, kind = %K::kind(&()), "caBundle was written");
                self.live = Some(Live::of(&registration));
                self.flag.pass();
                None
            }
            Err(error) => {
                self.trouble(format!(
                    "caBundle of {} `{NAME}` cannot be written: {error}",
                    K::kind(&())
                ));
                self.pace
                    .wait_until(Instant::now())
                    .or(Some(now))
            }
        }
    }

    fn trouble(&mut self, why: String) {
        if self.said.is_new(&why) {
            tracing::warn!("{why}");
        }
        self.flag.fail_unless_passed(why);
    }
}

/// What is known of a registration
struct Live {
    uid: Option<String>,
    bundles: Vec<(String, Option<ByteString>)>,
}

impl Live {
    fn of<K: Registration>(registration: &K) -> Self {
        Self {
            uid: registration.uid(),
            bundles: registration.bundles(),
        }
    }

    fn carries(&self, wanted: &[u8]) -> bool {
        self.bundles.iter().all(|(_, bundle)| {
            bundle
                .as_ref()
                .is_some_and(|bundle| bundle.0 == wanted)
        })
    }

    /// Whether some webhook has no authorities at all, and so cannot be called
    fn lacks(&self) -> bool {
        self.bundles.iter().any(|(_, bundle)| {
            bundle
                .as_ref()
                .is_none_or(|bundle| bundle.0.is_empty())
        })
    }
}

/// How long another replica's newer authorities may be ahead of our own watch of the Secret
const RIVAL_PAUSE: Duration = Duration::from_millis(500);

/// The fields that are ours, and the `uid`, without which applying would create a registration that
/// was just deleted
fn apply_patch<K: Registration>(live: &Live, wanted: &[u8]) -> Value {
    let bundle = BASE64_STANDARD.encode(wanted);
    let webhooks: Vec<_> = live
        .bundles
        .iter()
        .map(|(name, _)| json!({"name": name, "clientConfig": {"caBundle": bundle}}))
        .collect();
    json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": NAME, "uid": live.uid},
        "webhooks": webhooks,
    })
}

/// The first write goes at once, for without caBundle whatever needs us is refused; each that
/// follows soon waits twice as long
#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
    pause: Duration,
}

impl Pace {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(30);
    /// After so long without a write the quarrel is over
    const QUIET: Duration = Duration::from_secs(60);

    fn wait_until(&self, now: Instant) -> Option<Instant> {
        let until = self.last? + self.pause;
        (until > now).then_some(until)
    }

    fn wrote(&mut self, now: Instant) {
        let quiet = self
            .last
            .is_none_or(|last| now.duration_since(last) > Self::QUIET);
        self.pause = if quiet {
            Self::FIRST
        } else {
            (self.pause * 2).min(Self::LONGEST)
        };
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::body::Body;
    use http::{Request, Response};
    use http_body_util::BodyExt;
    use tower::service_fn;

    use super::*;
    use crate::server::Health;

    type Calls = Arc<Mutex<Vec<(String, Value)>>>;

    fn registration(bundles: &[Option<&str>]) -> MutatingWebhookConfiguration {
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
        let object = json!({"metadata": {"name": NAME, "uid": "1234"}, "webhooks": webhooks});
        serde_json::from_value(object).unwrap()
    }

    /// A keeper before an API server that answers each patch with `answer`, and what was asked
    fn keeper(
        answer: MutatingWebhookConfiguration,
    ) -> (Keeper<MutatingWebhookConfiguration>, Calls) {
        let calls = Calls::default();
        let record = calls.clone();
        let service = service_fn(move |request: Request<kube::client::Body>| {
            let (answer, record) = (answer.clone(), record.clone());
            async move {
                let call = format!("{} {}", request.method(), request.uri());
                let body = request
                    .into_body()
                    .collect()
                    .await
                    .unwrap()
                    .to_bytes();
                let body = serde_json::from_slice(&body).unwrap();
                record
                    .lock()
                    .unwrap()
                    .push((call, body));
                let answer = Body::from(serde_json::to_vec(&answer).unwrap());
                Ok::<_, std::convert::Infallible>(Response::new(answer))
            }
        });
        let flag = Health::new(Shutdown::new()).flag("registrations", "waiting");
        (Keeper::new(Client::new(service, "default"), flag), calls)
    }

    /// An API server whose watch says nothing and whose list holds one registration
    fn lists(registration: &MutatingWebhookConfiguration) -> (Client, Calls) {
        let calls = Calls::default();
        let record = calls.clone();
        let list = json!({"metadata": {"resourceVersion": "1"}, "items": [registration]});
        let answer = serde_json::to_vec(registration).unwrap();
        let service = service_fn(move |request: Request<kube::client::Body>| {
            let query = request
                .uri()
                .query()
                .unwrap_or_default();
            let body = if request.method() == http::Method::PATCH {
                let call = (request.uri().path().to_owned(), Value::Null);
                record.lock().unwrap().push(call);
                Body::from(answer.clone())
            } else if query.contains("watch=true") {
                Body::from_stream(futures::stream::pending::<std::io::Result<Vec<u8>>>())
            } else {
                Body::from(list.to_string())
            };
            async { Ok::<_, std::convert::Infallible>(Response::new(body)) }
        });
        (Client::new(service, "default"), calls)
    }

    async fn run_for(
        keeper: Keeper<MutatingWebhookConfiguration>,
        authorities: watch::Receiver<Authorities>,
        calls: &Calls,
        patience: Duration,
    ) -> usize {
        let written = async {
            while calls.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::select! {
            () = keeper.run(authorities) => {}
            () = written => {}
            () = tokio::time::sleep(patience) => {}
        }
        calls.lock().unwrap().len()
    }

    #[tokio::test]
    async fn new_authorities_do_not_wait_for_a_quarrel_to_cool_down() {
        let (client, calls) = lists(&registration(&[Some("old")]));
        let flag = Health::new(Shutdown::new()).flag("registrations", "waiting");
        let mut keeper = Keeper::new(client, flag);
        keeper.pace = Pace {
            last: Some(Instant::now()),
            pause: Duration::from_secs(3600),
        };
        let authorities = watch::Sender::new(None);
        let receiver = authorities.subscribe();
        authorities.send_replace(Some(Arc::from(*b"new")));
        assert_eq!(
            run_for(keeper, receiver, &calls, Duration::from_secs(10)).await,
            1
        );
    }

    #[tokio::test]
    async fn a_rivals_authorities_are_not_undone_at_once() {
        let (client, calls) = lists(&registration(&[Some("theirs")]));
        let flag = Health::new(Shutdown::new()).flag("registrations", "waiting");
        let receiver = watch::Sender::new(Some(Arc::from(*b"ours"))).subscribe();
        let start = Instant::now();
        let keeper = Keeper::new(client, flag);
        assert_eq!(
            run_for(keeper, receiver, &calls, Duration::from_secs(10)).await,
            1
        );
        assert!(start.elapsed() >= RIVAL_PAUSE, "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn writes_its_own_fields_and_nothing_else() {
        let (mut keeper, calls) = keeper(registration(&[Some("new"), Some("new")]));
        keeper.live = Some(Live::of(&registration(&[None, Some("old")])));

        assert_eq!(keeper.put(&Arc::from(*b"new")).await, None);

        let calls = calls.lock().unwrap();
        let [(call, patch)] = calls.as_slice() else {
            panic!("one call, not {calls:?}")
        };
        assert_eq!(
            call,
            "PATCH /apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/agentkube-manager?&force=true&fieldManager=agentkube-manager"
        );
        let bundle = BASE64_STANDARD.encode("new");
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
        assert!(keeper.live.unwrap().carries(b"new"));
    }

    #[tokio::test]
    async fn writes_nothing_when_the_authorities_are_there() {
        let (mut keeper, calls) = keeper(registration(&[]));
        keeper.live = Some(Live::of(&registration(&[Some("new"), Some("new")])));
        assert_eq!(keeper.put(&Arc::from(*b"new")).await, None);
        assert!(calls.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn never_creates_a_registration() {
        let (mut keeper, calls) = keeper(registration(&[]));
        keeper.see(Ok(Event::Init));
        keeper.see(Ok(Event::InitDone));
        assert_eq!(keeper.put(&Arc::from(*b"new")).await, None);
        assert!(calls.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_second_write_waits() {
        let (mut keeper, calls) = keeper(registration(&[Some("theirs")]));
        keeper.live = Some(Live::of(&registration(&[Some("theirs")])));
        assert_eq!(keeper.put(&Arc::from(*b"ours")).await, None);
        assert!(
            keeper
                .put(&Arc::from(*b"ours"))
                .await
                .is_some()
        );
        assert_eq!(calls.lock().unwrap().len(), 1);
    }

    #[test]
    fn another_writer_is_answered_at_a_falling_pace() {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..11 {
            assert_eq!(pace.wait_until(now), None);
            pace.wrote(now);
            let until = pace.wait_until(now).unwrap();
            pauses.push((until - now).as_millis());
            now = until;
        }
        let expected = [
            100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000,
        ];
        assert_eq!(pauses, expected);

        now += Pace::QUIET * 2;
        pace.wrote(now);
        assert_eq!(pace.wait_until(now), Some(now + Pace::FIRST));
    }

    #[test]
    fn a_wiped_bundle_is_told_from_a_rivals() {
        let live = |bundles: &[Option<&str>]| Live::of(&registration(bundles));
        assert!(live(&[Some("theirs"), None]).lacks());
        assert!(live(&[Some("")]).lacks());
        assert!(!live(&[Some("theirs")]).lacks());
    }
}
