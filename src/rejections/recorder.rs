use std::{
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use jiff::Timestamp;
use kube::Client;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{info, warn};

use super::{
    Refusal, RejectionMetrics, Retention,
    bucket::Bucket,
    encoded::encoded,
    identity::Identity,
    pending::{Denied, Fold, Pending},
    write::{WriteError, write},
};
use crate::{api::RejectionSpec, doubling};

/// The number of Rejections written in parallel.
const BATCH: usize = 8;
/// The shortest time for a batch. With [`BATCH`] it limits the rate of writes.
const BATCH_PERIOD: Duration = Duration::from_millis(100);
/// The most new Rejections per replica, of all namespaces together: at once, and per second in the
/// long run.
pub const NEW_REJECTIONS: (u32, u32) = (1024, 2);
/// The most bytes of Rejections that a replica writes: at once, and per second in the long run.
/// etcd keeps even overwritten values until it is compacted.
pub const WRITTEN_BYTES: (u32, u32) = (8 * 1024 * 1024, 64 * 1024);
/// The timeout of a write, which is then retried.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// The first and the longest pause while the API server accepts no Rejections.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The time limit for the last writes before the process ends.
const LAST_WRITES: Duration = Duration::from_secs(4);
/// The longest idle time before old entries are looked for.
const IDLE: Duration = Duration::from_secs(60);

/// Turns denials into Rejections.
#[derive(Debug)]
pub struct Recorder {
    pending: Mutex<Pending>,
    is_new: Notify,
    metrics: RejectionMetrics,
}

impl Recorder {
    /// Creates a recorder that holds no more Rejections of a namespace than are retained.
    #[must_use]
    pub fn new(retention: Retention, metrics: RejectionMetrics) -> Self {
        let new = Bucket::new(NEW_REJECTIONS.0, NEW_REJECTIONS.1);
        Self {
            pending: Mutex::new(Pending::new(retention.per_namespace, new)),
            is_new: Notify::new(),
            metrics,
        }
    }

    /// Records a denial. Only waits for other calls of this function. Takes microseconds if the
    /// Rejection is known, and otherwise the time to read the object once.
    pub fn record(&self, refusal: &Refusal<'_>) {
        if refusal.namespace.is_empty() {
            // The object has no namespace, so there is no place for a Rejection. The log and the
            // metrics have it.
            self.metrics.dropped.inc();
            return;
        }
        let now = Timestamp::now();
        let identity = Identity::of(refusal);
        let fold = self
            .pending()
            .fold(&identity, now, Instant::now());
        match fold {
            Fold::Add => {}
            Fold::Drop => {
                self.metrics.dropped.inc();
                return;
            }
            Fold::Join => {
                self.metrics.folded.inc();
                return;
            }
        }
        let record = RejectionSpec {
            count: 1,
            ..refusal.record(now)
        };
        let lost = self
            .pending()
            .add(identity, record, Instant::now());
        self.metrics.dropped.inc_by(lost);
        self.is_new.notify_one();
    }

    /// Writes pending Rejections until `shutdown`, and then the rest, for a few seconds at most.
    ///
    /// RBAC, in every namespace: `get`, `create`, `update` on rejections.
    pub async fn write(&self, client: Client, shutdown: impl Future<Output = ()>) {
        let mut writer = Writer::new(self, client);
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let start = Instant::now();
            // This future is never dropped half-way, since nobody else holds what it has taken.
            let came = writer.batch(false).await;
            tokio::select! {
                () = writer.rest(came, start) => {}
                () = &mut shutdown => break,
            }
        }
        let last = async { while writer.batch(true).await == Batch::Written {} };
        let in_time = timeout(LAST_WRITES, last).await;
        let waiting = self.pending().len();
        if in_time.is_err() || waiting > 0 {
            warn!(
                rejections = waiting,
                "the manager stopped before all Rejections were written"
            );
        }
    }

    // A panic while the lock was held cannot have left the state inconsistent.
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn count_pending(&self) {
        let waiting = self.pending().len();
        self.metrics
            .pending
            .set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }
}

/// Writes pending Rejections to the API server.
struct Writer<'r> {
    recorder: &'r Recorder,
    client: Client,
    bytes: Bucket,
    is_failing: bool,
    /// Batches that failed one after the other.
    failures: u32,
}

/// The result of a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Batch {
    /// The API server accepts no Rejections now.
    Fail,
    /// There was nothing to write.
    Nothing,
    /// All that could be written was written.
    Written,
}

impl<'r> Writer<'r> {
    fn new(recorder: &'r Recorder, client: Client) -> Self {
        Self {
            recorder,
            client,
            bytes: Bucket::new(WRITTEN_BYTES.0, WRITTEN_BYTES.1),
            is_failing: false,
            failures: 0,
        }
    }

    /// Waits until the next batch may begin.
    async fn rest(&mut self, came: Batch, start: Instant) {
        match came {
            Batch::Written => {
                self.failures = 0;
                let now = Instant::now();
                let later = now + self.bytes.wait(now);
                sleep_until(later.max(start + BATCH_PERIOD)).await;
            }
            Batch::Fail => {
                let pause = doubling::pause(self.failures, BACKOFF.0, BACKOFF.1);
                self.failures = self.failures.saturating_add(1);
                sleep(pause).await;
            }
            Batch::Nothing => self.wait().await,
        }
    }

    /// Waits until a Rejection is due.
    async fn wait(&self) {
        let now = Instant::now();
        let due = {
            let mut pending = self.recorder.pending();
            pending.forget(now);
            pending.next_due()
        };
        let due = due.unwrap_or(now + IDLE);
        tokio::select! {
            () = sleep_until(due) => {}
            () = self.recorder.is_new.notified() => {}
        }
    }

    async fn batch(&mut self, all: bool) -> Batch {
        let metrics = &self.recorder.metrics;
        let taken = self
            .recorder
            .pending()
            .take(Instant::now(), BATCH, all);
        self.recorder.count_pending();
        if taken.is_empty() {
            return Batch::Nothing;
        }
        for (_, Denied(record)) in &taken {
            let bytes = u32::try_from(encoded(record)).unwrap_or(u32::MAX);
            self.bytes.owe(bytes, Instant::now());
        }
        let writes = taken
            .iter()
            .map(|(identity, Denied(record))| {
                timeout(WRITE_TIMEOUT, write(&self.client, identity, record))
            });
        let results = join_all(writes).await;
        let mut failed = None;
        let mut some_settled = false;
        for ((identity, denied), result) in taken.into_iter().zip(results) {
            let unwritten = match result {
                Ok(Ok(())) => {
                    metrics.written.inc();
                    None
                }
                Ok(Err(WriteError::Refused(message))) => {
                    let Denied(record) = &denied;
                    metrics
                        .dropped
                        .inc_by(u64::try_from(record.count).unwrap_or_default());
                    // Logged once per Rejection and pause: its namespace is terminating, or its
                    // quota is used up.
                    info!(namespace = &*identity.namespace, rejection = &*identity.name, error = %message, "a Rejection was refused and is dropped");
                    None
                }
                Ok(Err(WriteError::Api { message, hint })) => {
                    failed = Some((message, hint));
                    Some(denied)
                }
                Err(_) => {
                    failed = Some(("the API server did not answer in time".to_owned(), ""));
                    Some(denied)
                }
            };
            some_settled |= unwritten.is_none();
            self.recorder
                .pending()
                .settle(&identity, unwritten, Instant::now());
        }
        self.recorder.count_pending();
        // A Rejection that only its namespace refuses waits alone, and does not block the others.
        self.report(failed.filter(|_| !some_settled))
    }

    /// Logs once that Rejections cannot be written, and once that they can again.
    fn report(&mut self, failed: Option<(String, &'static str)>) -> Batch {
        let metrics = &self.recorder.metrics;
        let has_failed = failed.is_some();
        if let Some((error, hint)) = failed
            && !self.is_failing
        {
            warn!(%error, hint, "Rejections cannot be written and are retried");
        } else if self.is_failing && !has_failed {
            info!("Rejections can be written again");
        }
        self.is_failing = has_failed;
        metrics
            .writable
            .set(i64::from(!has_failed));
        if has_failed {
            Batch::Fail
        } else {
            Batch::Written
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        fake_api::{Api as FakeApi, Reply},
        rejections::refusal::{LONGEST_REJECTION, tests::refusal},
    };

    fn recorder() -> Recorder {
        Recorder::new(Retention::default(), RejectionMetrics::default())
    }

    fn writer<'r>(recorder: &'r Recorder, api: &FakeApi) -> Writer<'r> {
        Writer::new(recorder, api.client())
    }

    /// A Rejection in the API server.
    fn held(count: u64) -> Value {
        let mut spec = serde_json::to_value(
            refusal("team", "bot", "alice").record(Timestamp::from_second(1_000).unwrap()),
        )
        .unwrap();
        spec["count"] = json!(count);
        json!({
            "apiVersion": "agentkube.io/v1alpha1", "kind": "Rejection",
            "metadata": {"name": "agent-bot", "namespace": "team", "resourceVersion": "7"},
            "spec": spec,
        })
    }

    const ONE: &str = "/namespaces/team/rejections/";
    const ALL: &str = "/namespaces/team/rejections";

    #[tokio::test]
    async fn what_the_api_server_does_not_take_waits_and_is_written_later() {
        let api = FakeApi::default();
        let recorder = recorder();
        let mut writer = writer(&recorder, &api);
        recorder.record(&refusal("team", "bot", "alice"));
        for (code, reason, message) in [
            (500, "InternalError", "no"),
            (429, "TooManyRequests", "no"),
            (
                403,
                "Forbidden",
                "User \"me\" cannot get resource \"rejections\"",
            ),
        ] {
            api.on("GET", ONE, Reply::error(code, reason, message));
            assert_eq!(writer.batch(true).await, Batch::Fail, "{code}");
            assert_eq!(recorder.pending().len(), 1, "{code}");
            assert_eq!(recorder.metrics.writable.get(), 0, "{code}");
        }
        // Without the CRD no Rejection is found, and none can be created.
        api.on("GET", ONE, Reply::error(404, "NotFound", "no such path"));
        api.on("POST", ALL, Reply::error(404, "NotFound", "no such path"));
        assert_eq!(writer.batch(true).await, Batch::Fail);

        recorder.record(&refusal("team", "bot", "alice"));
        api.on("POST", ALL, Reply::ok(held(2)));
        assert_eq!(writer.batch(true).await, Batch::Written);
        assert_eq!(api.request("POST", ALL)["spec"]["count"], 2);
        assert_eq!(recorder.metrics.writable.get(), 1);
        assert_eq!(recorder.metrics.dropped.get(), 0);
        assert_eq!(writer.batch(true).await, Batch::Nothing);
    }

    #[tokio::test]
    async fn replicas_that_write_the_same_rejection_add_up() {
        let api = FakeApi::default();
        let recorder = recorder();
        let mut writer = writer(&recorder, &api);
        recorder.record(&refusal("team", "bot", "alice"));
        api.on("GET", ONE, Reply::ok(held(5)));
        api.on("PUT", ONE, Reply::error(409, "Conflict", "it was modified"));
        assert_eq!(
            writer.batch(true).await,
            Batch::Fail,
            "it is tried a few times"
        );
        assert!(api.count("GET", ONE) > 1);

        api.on("PUT", ONE, Reply::ok(held(6)));
        assert_eq!(writer.batch(true).await, Batch::Written);
        let sent = api.request("PUT", ONE);
        assert_eq!(sent["spec"]["count"], 6);
        assert_eq!(sent["metadata"]["resourceVersion"], "7");
        let first = held(5)["spec"]["firstSeen"].clone();
        assert_eq!(sent["spec"]["firstSeen"], first);
    }

    #[tokio::test]
    async fn a_rejection_about_something_else_is_not_written_over() {
        let api = FakeApi::default();
        let recorder = recorder();
        let mut writer = writer(&recorder, &api);
        for (field, other) in [
            ("object", json!({"kind": "Agent", "name": "another"})),
            ("user", json!("bob")),
            ("reason", json!("InvalidImage")),
        ] {
            recorder.record(&refusal("team", "bot", "alice"));
            let mut known = held(5);
            known["spec"][field] = other;
            api.on("GET", ONE, Reply::ok(known));
            assert_eq!(writer.batch(true).await, Batch::Written, "nobody waits");
            assert_eq!(api.count("PUT", ONE), 0, "{field}");
        }
        assert_eq!(recorder.metrics.dropped.get(), 3);
        assert_eq!(recorder.metrics.written.get(), 0);
    }

    #[tokio::test]
    async fn what_is_never_taken_is_dropped_and_keeps_no_other_waiting() {
        let api = FakeApi::default();
        let recorder = recorder();
        let mut writer = writer(&recorder, &api);
        for _ in 0..3 {
            recorder.record(&refusal("full", "bot", "alice"));
        }
        recorder.record(&refusal("team", "bot", "alice"));
        recorder.record(&refusal("", "bot", "alice"));
        api.on("GET", "/rejections/", Reply::error(404, "NotFound", "none"));
        api.on("POST", ALL, Reply::ok(held(1)));
        let quota = "exceeded quota: one, requested: count/rejections.agentkube.io=1";
        api.on(
            "POST",
            "/namespaces/full/rejections",
            Reply::error(403, "Forbidden", quota),
        );
        assert_eq!(writer.batch(true).await, Batch::Written);
        assert_eq!(recorder.metrics.written.get(), 1);
        assert_eq!(recorder.metrics.folded.get(), 2);
        assert_eq!(
            recorder.metrics.dropped.get(),
            4,
            "three of the full namespace, and the one without any"
        );
        assert_eq!(recorder.metrics.writable.get(), 1);
    }

    #[tokio::test]
    async fn beyond_the_rate_refusals_are_counted_and_not_remembered() {
        let recorder = recorder();
        let flood = 10_000;
        for index in 0..flood {
            let namespace = format!("team-{}", index % 1_000);
            recorder.record(&refusal(&namespace, &format!("bot-{index}"), "alice"));
        }
        let most = usize::try_from(NEW_REJECTIONS.0 + 100 * NEW_REJECTIONS.1).unwrap();
        let remembered = recorder.pending().len();
        assert!(remembered <= most, "{remembered}");
        let lost = usize::try_from(recorder.metrics.dropped.get()).unwrap();
        assert_eq!(remembered + lost, flood, "each is counted");
    }

    #[tokio::test]
    async fn what_is_written_has_a_rate_in_bytes() {
        let api = FakeApi::default();
        api.on("GET", ONE, Reply::ok(held(1)));
        api.on("PUT", ONE, Reply::ok(held(2)));
        let recorder = recorder();
        let mut writer = writer(&recorder, &api);
        let goal =
            serde_json::value::to_raw_value(&json!({"spec": {"goal": vec![true; 1_500]}})).unwrap();
        let refusal = Refusal {
            object: Some(&goal),
            ..refusal("team", "bot", "alice")
        };
        let start = Instant::now();
        let mut written = 0;
        while writer
            .bytes
            .wait(Instant::now())
            .is_zero()
        {
            recorder.record(&refusal);
            assert_eq!(writer.batch(true).await, Batch::Written);
            written += encoded(&api.request("PUT", ONE)["spec"]);
        }
        let [at_once, a_second] =
            [WRITTEN_BYTES.0, WRITTEN_BYTES.1].map(|bytes| usize::try_from(bytes).unwrap());
        let seconds = usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
        assert!(written >= at_once - LONGEST_REJECTION, "{written}");
        assert!(
            written <= at_once + seconds * a_second + LONGEST_REJECTION,
            "{written}"
        );
    }

    #[tokio::test]
    async fn what_waits_at_the_end_is_written_without_waiting_for_its_turn() {
        let api = FakeApi::default();
        api.on("GET", ONE, Reply::error(404, "NotFound", "none"));
        api.on("POST", ALL, Reply::ok(held(1)));
        let recorder = recorder();
        for index in 0..3 * BATCH {
            recorder.record(&refusal("team", &format!("bot-{index}"), "alice"));
        }
        recorder
            .write(api.client(), std::future::ready(()))
            .await;
        assert_eq!(api.count("POST", ALL), 3 * BATCH);
        assert_eq!(recorder.pending().len(), 0);
    }
}
