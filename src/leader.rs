//! Leader election between the replicas.
//!
//! The protocol is that of Kubernetes' own components (client-go's `leaderelection`): the Lease names
//! its holder, and every write carries the `resourceVersion` that was read, so one of two candidates
//! loses. A holder counts as alive while its Lease *changes*; its clock is never compared with ours.

use std::{
    future::Future,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client, Resource,
    api::{ObjectMeta, PostParams, TypeMeta},
    runtime::watcher::Event,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::{
    api::{MANAGER, Readable},
    watch::{Unreadable, UnreadableObjects},
};

/// The Lease that the leader holds, in the manager's own namespace.
pub(crate) const LEASE: &str = MANAGER;
/// The time for which a Lease that is not renewed keeps others from leading.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// A leader that cannot renew stops this long before others may lead: a margin for requests in flight,
/// and for clock drift.
pub(crate) const RENEW_GRACE: Duration = Duration::from_secs(5);

/// The time for which a leader continues without a renewal.
const RENEW_DEADLINE: Duration = LEASE_DURATION.saturating_sub(RENEW_GRACE);
/// Renewal interval of a leader.
pub(crate) const RENEW_PERIOD: Duration = Duration::from_secs(2);
/// Poll interval of a candidate, and so its delay after the Lease was released.
const POLL_PERIOD: Duration = Duration::from_secs(1);
/// The kind by which an unreadable Lease is counted.
const KIND: &str = "Lease";
/// The holder of a Lease that cannot be read. No replica has this name.
const UNKNOWN_HOLDER: &str = "(unreadable)";
/// Deadline of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// The separator between a candidate's name and its random suffix. No pod name contains it.
const SEPARATOR: char = '_';

/// A replica that is a candidate for leadership.
pub struct Candidate {
    leases: Api<Readable<HeldLease>>,
    identity: String,
    unreadable: Mutex<Unreadable>,
}

/// The fields of a Lease that are read.
#[derive(Clone, Debug, Deserialize, Resource, Serialize)]
#[resource(inherit = "Lease")]
pub(crate) struct HeldLease {
    #[serde(flatten)]
    types: Option<TypeMeta>,
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Holding,
}

/// The spec of a Lease: its holder and duration.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Holding {
    #[serde(skip_serializing_if = "Option::is_none")]
    holder_identity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_duration_seconds: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_transitions: Option<i32>,
    // Times are only informative and kept verbatim, so an invalid one does no harm.
    #[serde(skip_serializing_if = "Option::is_none")]
    acquire_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    renew_time: Option<String>,
    /// Unknown fields, such as those of a newer Kubernetes release.
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Candidate {
    /// A candidate for the Lease `agentkube-manager` in `namespace`. `name` identifies this replica for people;
    /// the name of its pod is best.
    ///
    /// The identity in the Lease is the name with a random suffix. So two processes are never the same
    /// candidate, even if they share a name: neither replicas without unique names, nor a restarted
    /// container whose predecessor still runs somewhere.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        let random = RandomState::new()
            .build_hasher()
            .finish();
        Self {
            leases: Api::namespaced(client, namespace),
            identity: format!("{name}{SEPARATOR}{random:016x}"),
            unreadable: Mutex::new(UnreadableObjects::default().of(KIND)),
        }
    }

    /// Counts the Lease in `unreadable` while it cannot be read.
    #[must_use]
    pub(crate) fn counting(self, unreadable: &UnreadableObjects) -> Self {
        Self {
            unreadable: Mutex::new(unreadable.of(KIND)),
            ..self
        }
    }

    /// Runs `work` whenever this replica leads, until `shutdown`; then releases the Lease, so that
    /// another replica leads at once. `on_leadership` is called with every change.
    ///
    /// `work` is dropped, wherever it stands, as soon as leadership is lost.
    ///
    /// RBAC, in the Lease's namespace: `create`, and for the Lease by its name `get`, `update`, on
    /// leases.
    pub async fn run<W: Future<Output = ()>>(
        &self,
        on_leadership: impl Fn(bool),
        work: impl Fn() -> W,
        shutdown: impl Future<Output = ()>,
    ) {
        let campaign = async {
            let mut sighting = None;
            loop {
                self.acquire(&mut sighting).await;
                info!(identity = self.identity, "this replica leads");
                on_leadership(true);
                tokio::select! {
                    () = self.hold(&mut sighting) => {}
                    () = work() => {}
                }
                warn!(identity = self.identity, "this replica no longer leads");
                on_leadership(false);
            }
        };
        tokio::select! {
            biased;
            () = shutdown => {}
            () = campaign => {}
        }
        on_leadership(false);
        self.release().await;
    }

    /// Returns when this replica holds the Lease.
    async fn acquire(&self, sighting: &mut Option<Sighting>) {
        let mut is_failing = false;
        loop {
            match self.attempt(sighting).await {
                Ok(true) => return,
                Ok(false) => is_failing = false,
                Err(error) => {
                    // Retried every second, and logged once.
                    if !is_failing {
                        warn!(lease = LEASE, %error, "the Lease cannot be read or taken, trying again");
                    }
                    is_failing = true;
                }
            }
            sleep(POLL_PERIOD).await;
        }
    }

    /// Returns when this replica no longer holds the Lease for certain.
    async fn hold(&self, sighting: &mut Option<Sighting>) {
        let mut deadline = Instant::now() + RENEW_DEADLINE;
        let mut pause = RENEW_PERIOD;
        let mut is_failing = false;
        loop {
            sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
            let asked = Instant::now();
            if asked >= deadline {
                return;
            }
            let attempt = self.attempt(sighting);
            match timeout(deadline - asked, attempt).await {
                Ok(Ok(true)) => {
                    deadline = asked + RENEW_DEADLINE;
                    pause = RENEW_PERIOD;
                    is_failing = false;
                }
                Ok(Ok(false)) | Err(_) => return,
                Ok(Err(error)) => {
                    if !is_failing {
                        warn!(lease = LEASE, %error, "the Lease could not be renewed, trying again");
                    }
                    is_failing = true;
                    pause = POLL_PERIOD;
                }
            }
        }
    }

    /// Tries once to take or renew the Lease. Returns true if this replica holds it.
    async fn attempt(&self, sighting: &mut Option<Sighting>) -> Result<bool, LeaseError> {
        let taken = timeout(REQUEST_TIMEOUT, self.take(sighting)).await;
        match taken.map_err(|_| LeaseError::Timeout)? {
            Ok(holds) => Ok(holds),
            // Another candidate was faster, or the Lease was deleted; the next poll shows which.
            Err(kube::Error::Api(error)) if error.code == 409 || error.is_not_found() => Ok(false),
            Err(error) => Err(LeaseError::Api(Box::new(error))),
        }
    }

    async fn take(&self, sighting: &mut Option<Sighting>) -> Result<bool, kube::Error> {
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let Some(mut lease) = self.read().await? else {
            let lease = HeldLease {
                types: Some(TypeMeta::resource::<Lease>()),
                metadata: ObjectMeta {
                    name: Some(LEASE.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: claim(&Holding::default(), &self.identity, Timestamp::now()),
            };
            self.leases
                .create(&params, &Readable::Read(lease))
                .await?;
            return Ok(true);
        };
        if !self.may_take(&lease, sighting, Instant::now()) {
            return Ok(false);
        }
        lease.spec = claim(&lease.spec, &self.identity, Timestamp::now());
        // It carries the resourceVersion that was read: of two candidates only one succeeds.
        self.leases
            .replace(LEASE, &params, &Readable::Read(lease))
            .await?;
        Ok(true)
    }

    /// The Lease, if it exists. One that this version cannot read has an unknown holder.
    async fn read(&self) -> Result<Option<HeldLease>, kube::Error> {
        let Some(lease) = self.leases.get_opt(LEASE).await? else {
            return Ok(None);
        };
        let event = Event::Apply(lease);
        self.unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .see(&event);
        let (Event::Apply(lease) | Event::InitApply(lease) | Event::Delete(lease)) = event else {
            return Ok(None);
        };
        Ok(Some(
            lease
                .read()
                .unwrap_or_else(|unread| HeldLease {
                    types: Some(TypeMeta::resource::<Lease>()),
                    metadata: unread.metadata,
                    spec: Holding {
                        holder_identity: Some(UNKNOWN_HOLDER.to_owned()),
                        ..Holding::default()
                    },
                }),
        ))
    }

    /// True if the Lease is free, ours, or has not changed for its whole duration.
    fn may_take(&self, lease: &HeldLease, sighting: &mut Option<Sighting>, now: Instant) -> bool {
        let Some(holder) = holder(lease) else {
            return true;
        };
        if holder == self.identity {
            return true;
        }
        let version = lease
            .metadata
            .resource_version
            .as_deref()
            .unwrap_or_default();
        match sighting {
            Some(sighting) if sighting.version == version => {
                now.saturating_duration_since(sighting.since) >= duration(lease)
            }
            _ => {
                *sighting = Some(Sighting {
                    version: version.to_owned(),
                    since: now,
                });
                false
            }
        }
    }

    /// Releases the Lease, if this replica holds it, so that the next one leads at once.
    async fn release(&self) {
        let release = async {
            let Some(mut lease) = self.read().await? else {
                return Ok(());
            };
            if holder(&lease) != Some(self.identity.as_str()) {
                return Ok(());
            }
            lease.spec.holder_identity = None;
            lease.spec.renew_time = None;
            lease.spec.acquire_time = None;
            let params = PostParams {
                field_manager: Some(MANAGER.to_owned()),
                ..PostParams::default()
            };
            self.leases
                .replace(LEASE, &params, &Readable::Read(lease))
                .await?;
            info!(identity = self.identity, "the Lease was released");
            Ok::<_, kube::Error>(())
        };
        match timeout(REQUEST_TIMEOUT, release).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(lease = LEASE, %error, "the Lease could not be released"),
            Err(_) => {
                warn!(lease = LEASE, error = %LeaseError::Timeout, "the Lease could not be released");
            }
        }
    }
}

/// The reason why the holder of the Lease is unknown.
#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error(transparent)]
    Api(Box<kube::Error>),
    #[error("the API server did not answer in time")]
    Timeout,
}

/// The Lease of another candidate, as of its last change.
#[derive(Debug)]
struct Sighting {
    version: String,
    since: Instant,
}

/// The holder of a Lease, if any.
pub(crate) fn holder(lease: &HeldLease) -> Option<&str> {
    lease
        .spec
        .holder_identity
        .as_deref()
        .filter(|holder| !holder.is_empty())
}

/// The name of a holder, without the random suffix.
pub(crate) fn name_of(holder: &str) -> &str {
    holder
        .rsplit_once(SEPARATOR)
        .map_or(holder, |(name, _)| name)
}

/// The duration that the holder requested.
fn duration(lease: &HeldLease) -> Duration {
    lease
        .spec
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(LEASE_DURATION, Duration::from_secs)
}

/// The Lease as its holder writes it: taken over, or renewed.
fn claim(known: &Holding, identity: &str, now: Timestamp) -> Holding {
    let mut spec = known.clone();
    if spec.holder_identity.as_deref() != Some(identity) {
        spec.holder_identity = Some(identity.to_owned());
        spec.acquire_time = Some(micro_time(now));
        spec.lease_transitions = Some(
            spec.lease_transitions
                .map_or(0, |count| count.saturating_add(1)),
        );
    }
    spec.renew_time = Some(micro_time(now));
    spec.lease_duration_seconds = i32::try_from(LEASE_DURATION.as_secs()).ok();
    spec
}

/// A time in the format of Leases, with exactly six fractional digits.
fn micro_time(time: Timestamp) -> String {
    format!("{time:.6}")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::LeaseSpec;
    use prometheus_client::{encoding::text::encode, registry::Registry};
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_api::{Api as FakeApi, Reply};

    fn lease(version: &str, spec: &Value) -> HeldLease {
        serde_json::from_value(json!({
            "metadata": {"name": LEASE, "resourceVersion": version},
            "spec": spec,
        }))
        .unwrap()
    }

    fn candidate(api: &FakeApi) -> Candidate {
        Candidate {
            identity: "me".to_owned(),
            ..Candidate::new(api.client(), "agentkube-system", "")
        }
    }

    #[tokio::test]
    async fn two_processes_of_one_name_are_two_candidates() {
        let api = FakeApi::default();
        let [first, second] =
            [(); 2].map(|()| Candidate::new(api.client(), "agentkube-system", "agentkube-manager"));
        let spec = claim(&Holding::default(), &first.identity, Timestamp::now());
        let held = lease("1", &serde_json::to_value(&spec).unwrap());
        let now = Instant::now();
        assert!(first.may_take(&held, &mut None, now));
        assert!(!second.may_take(&held, &mut None, now));
        assert_eq!(holder(&held).map(name_of), Some("agentkube-manager"));
        assert_eq!(name_of("of-another-program"), "of-another-program");
    }

    #[tokio::test]
    async fn a_lease_that_cannot_be_read_is_taken_once_it_no_longer_changes() {
        let api = FakeApi::default();
        let newer = json!({
            "metadata": {"name": LEASE, "resourceVersion": "1"},
            "spec": {"holderIdentity": {"newer": "other"}},
        });
        api.on("GET", "/leases/", Reply::ok(newer));
        let mut metrics = Registry::default();
        let unreadable = UnreadableObjects::default();
        metrics.register("unreadable_objects", "", unreadable.family());
        let count = || {
            let mut text = String::new();
            encode(&mut text, &metrics).unwrap();
            let line = text
                .lines()
                .find(|line| line.contains("kind=\"Lease\""));
            line.unwrap().to_owned()
        };
        let candidate = candidate(&api).counting(&unreadable);
        let lease = candidate.read().await.unwrap().unwrap();
        assert_eq!(holder(&lease), Some(UNKNOWN_HOLDER));
        assert_eq!(count(), "unreadable_objects{kind=\"Lease\"} 1");
        let (mut sighting, now) = (None, Instant::now());
        assert!(!candidate.may_take(&lease, &mut sighting, now));
        assert!(candidate.may_take(&lease, &mut sighting, now + LEASE_DURATION));
        let ours = json!({
            "metadata": {"name": LEASE, "resourceVersion": "2"}, "spec": {"holderIdentity": "me"},
        });
        api.on("GET", "/leases/", Reply::ok(ours));
        candidate.read().await.unwrap();
        assert_eq!(count(), "unreadable_objects{kind=\"Lease\"} 0");
    }

    #[tokio::test]
    async fn times_of_a_lease_are_never_read_and_stay_as_they_are() {
        const ODD: &str = "9999-12-31T23:59:59.000000Z";
        let api = FakeApi::default();
        let ours = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": LEASE, "resourceVersion": "7", "managedFields": [
                {"manager": "x", "operation": "Update", "time": ODD},
            ]},
            "spec": {"holderIdentity": "me", "acquireTime": ODD, "renewTime": ODD, "strategy": "newer"},
        });
        assert!(serde_json::from_value::<Lease>(ours.clone()).is_err());
        api.on("GET", "/leases/", Reply::ok(ours.clone()));
        api.on("PUT", "/leases/", Reply::ok(ours));
        let candidate = candidate(&api);
        assert!(
            candidate
                .attempt(&mut None)
                .await
                .unwrap()
        );
        let put = api.request("PUT", "/leases/");
        assert_eq!(put["kind"], "Lease");
        assert_eq!(put["metadata"]["resourceVersion"], "7");
        assert_eq!(put["spec"]["acquireTime"], ODD);
        assert_ne!(put["spec"]["renewTime"], ODD);
        assert_eq!(put["spec"]["strategy"], "newer");
        // What is written can be read by everybody.
        let spec = claim(
            &Holding::default(),
            "me",
            Timestamp::from_second(1_000).unwrap(),
        );
        let spec: LeaseSpec = serde_json::from_value(serde_json::to_value(spec).unwrap()).unwrap();
        assert_eq!(spec.renew_time.unwrap().0.as_second(), 1_000);
        assert_eq!(
            micro_time(Timestamp::from_second(1_000).unwrap()),
            "1970-01-01T00:16:40.000000Z"
        );
    }

    #[tokio::test]
    async fn a_lease_that_nobody_holds_may_be_taken_at_once() {
        let candidate = candidate(&FakeApi::default());
        let free = json!({"leaseDurationSeconds": 15, "leaseTransitions": 3});
        assert!(candidate.may_take(&lease("1", &free), &mut None, Instant::now()));
        let blank = json!({"holderIdentity": ""});
        assert!(candidate.may_take(&lease("1", &blank), &mut None, Instant::now()));
        let own = json!({"holderIdentity": "me", "renewTime": "2020-01-01T00:00:00.000000Z"});
        assert!(candidate.may_take(&lease("1", &own), &mut None, Instant::now()));
    }

    #[tokio::test]
    async fn a_lease_is_dead_when_it_has_not_changed_for_its_duration() {
        let candidate = candidate(&FakeApi::default());
        // Its clock is far behind ours, which must not count.
        let held = json!({
            "holderIdentity": "other", "leaseDurationSeconds": 15,
            "renewTime": "2020-01-01T00:00:00.000000Z",
        });
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut sighting = None;
        let mut may_take =
            |version, at| candidate.may_take(&lease(version, &held), &mut sighting, at);
        assert!(!may_take("1", start));
        assert!(!may_take("1", after(14)));
        assert!(!may_take("2", after(15)), "it was renewed");
        assert!(!may_take("2", after(29)));
        assert!(may_take("2", after(30)));
    }

    #[test]
    fn a_leader_stops_before_others_may_lead() {
        assert!(RENEW_DEADLINE + RENEW_GRACE <= LEASE_DURATION);
        assert!(RENEW_PERIOD + REQUEST_TIMEOUT < RENEW_DEADLINE);
    }

    #[test]
    fn a_renewal_changes_only_the_time() {
        let early = Timestamp::from_second(1_000).unwrap();
        let late = Timestamp::from_second(2_000).unwrap();
        let first = claim(&Holding::default(), "me", early);
        assert_eq!(first.lease_transitions, Some(0));
        let renewed = claim(&first, "me", late);
        assert_eq!(renewed.acquire_time, Some(micro_time(early)));
        assert_eq!(renewed.renew_time, Some(micro_time(late)));
        assert_eq!(renewed.lease_transitions, Some(0));
        let other = claim(&renewed, "other", late);
        assert_eq!(other.acquire_time, Some(micro_time(late)));
        assert_eq!(other.lease_transitions, Some(1));
    }

    #[tokio::test]
    async fn of_two_candidates_the_slower_one_loses() {
        let api = FakeApi::default();
        api.on(
            "GET",
            "/leases/",
            Reply::ok(json!({
                "metadata": {"name": LEASE, "resourceVersion": "7"}, "spec": {},
            })),
        );
        api.on(
            "PUT",
            "/leases/",
            Reply::error(409, "Conflict", "it was modified"),
        );
        let candidate = candidate(&api);
        assert!(
            !candidate
                .attempt(&mut None)
                .await
                .unwrap()
        );
        let put = api.request("PUT", "/leases/");
        assert_eq!(put["metadata"]["resourceVersion"], "7");
        assert_eq!(put["spec"]["holderIdentity"], "me");
    }

    #[tokio::test]
    async fn the_work_ends_with_shutdown_and_the_lease_is_released() {
        let api = FakeApi::default();
        api.on("GET", "/leases/", Reply::error(404, "NotFound", "no lease"));
        api.on(
            "POST",
            "/leases",
            Reply::ok(json!({"metadata": {"name": LEASE}})),
        );
        let candidate = candidate(&api);
        let leads = Mutex::new(Vec::new());
        let (started, shutdown) = tokio::sync::oneshot::channel();
        let started = Mutex::new(Some(started));
        let work = || {
            // From now on the Lease is there, and ours.
            api.on(
                "GET",
                "/leases/",
                Reply::ok(json!({
                    "metadata": {"name": LEASE, "resourceVersion": "8"},
                    "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15,
                        "renewTime": "2020-01-01T00:00:00.000000Z"},
                })),
            );
            api.on(
                "PUT",
                "/leases/",
                Reply::ok(json!({"metadata": {"name": LEASE}})),
            );
            started
                .lock()
                .unwrap()
                .take()
                .unwrap()
                .send(())
                .unwrap();
            std::future::pending()
        };
        let shutdown = async { shutdown.await.unwrap() };
        candidate
            .run(
                |is_leader| leads.lock().unwrap().push(is_leader),
                work,
                shutdown,
            )
            .await;
        assert_eq!(*leads.lock().unwrap(), [true, false]);
        let put = api.request("PUT", "/leases/");
        assert_eq!(put["metadata"]["resourceVersion"], "8");
        assert_eq!(put["spec"].get("holderIdentity"), None);
        assert_eq!(put["spec"].get("renewTime"), None);
    }

    #[tokio::test]
    async fn a_lost_lease_ends_the_work_at_once() {
        let api = FakeApi::default();
        api.on(
            "GET",
            "/leases/",
            Reply::ok(json!({
                "metadata": {"name": LEASE, "resourceVersion": "9"},
                "spec": {"holderIdentity": "other", "leaseDurationSeconds": 15},
            })),
        );
        let candidate = candidate(&api);
        let mut sighting = None;
        let lost = candidate.hold(&mut sighting);
        timeout(RENEW_DEADLINE, lost)
            .await
            .expect("the holder should notice with its next renewal");
    }
}
