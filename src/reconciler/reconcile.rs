//! What is done for one Agent or Tool, each time that something about it changes.

use std::{convert::Infallible, fmt::Debug, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
    runtime::{
        Config, applier,
        controller::{self, Action},
        events::{Event, EventType},
        reflector::{ObjectRef, Store},
    },
};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{
    backoff::{Backoff, Key},
    burst::{Burst, Pressure},
    events::EventRecorder,
    memory::{
        observed::{ObservedPod, Ownership},
        packed::Packed,
        watch::Stores,
        written_status::WrittenStatus,
    },
    owner::Owner,
    reconciled::Reconciled,
    status::{is_just_starting, patch, problem, state::PodObservation, status},
};
use crate::{
    admission::{Policy, hide_credentials},
    api::{MANAGER, Readable, Status},
    watch::MaybeUnreadable,
};

/// How many objects of a kind are worked on at a time.
const CONCURRENCY: u16 = 16;
/// How often in a row a pod is built anew because its owner has changed meanwhile. Each time the owner
/// is read just before, so that only a change within one call to the API server is in the way; and
/// each change has the owner looked at again by itself.
const MOST_REBUILDS: usize = 8;
/// When to look again at a pod that the API server has and the watch has not shown yet.
const RECHECK: Duration = Duration::from_secs(5);
/// When to look again whether a name has become free. A pod without our label is not watched.
const NAME_TAKEN_RETRY: Duration = Duration::from_secs(30);
/// How old a pod is before it is worth a word that it is starting. Most of those whose images are
/// on the node run by then, and status has cost one write and not two.
const START_GRACE: Duration = Duration::from_secs(2);
/// The same while many pods are created at once, whatever there is to tell: pods come before words,
/// and most of them run by then.
const BURST_GRACE: Duration = Duration::from_secs(5 * 60);
/// When to look again at a pod that is reported later.
const BURST_RECHECK: Duration = Duration::from_secs(15);
/// The API server refuses longer notes of Events; in bytes.
const LONGEST_NOTE: usize = 1000;

/// What the leader works with.
pub(super) struct Leader {
    pub(super) client: Client,
    pub(super) policy: Arc<Policy>,
    pub(super) recorder: EventRecorder,
    pub(super) stores: Stores,
}

/// An object that has a status, whether it could be read or not.
trait Reported:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned
{
}

impl<K> Reported for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
{
}

/// Reconciles each object of `queue`; runs until that ends.
pub(super) async fn run<K: Owner>(
    leader: Arc<Leader>,
    store: Store<Packed<K>>,
    queue: impl Stream<Item = ObjectRef<Packed<K>>>,
) {
    let context = Arc::new(Context {
        leader,
        pods: Backoff::default(),
        reports: Backoff::default(),
        burst: Burst::default(),
    });
    let results = applier(
        |object: Arc<Packed<K>>, context: Arc<Context>| {
            Box::pin(async move { context.reconcile(&*object).await })
        },
        |object, error, context| context.failed(&*object, error),
        context.clone(),
        store,
        queue.map(Ok::<_, Infallible>),
        Config::default().concurrency(CONCURRENCY),
    );
    results
        .for_each(async |result| {
            // What failed has been logged by `failed`. What is gone need not be tried again.
            if let Err(controller::Error::ObjectNotFound(object)) = result {
                let namespace = object.namespace.unwrap_or_default();
                context.forget(&(namespace, object.name));
            }
        })
        .await;
}

struct Context {
    leader: Arc<Leader>,
    /// Of pods that could not be created.
    pods: Backoff,
    /// Of what else failed, status above all. It keeps no pod from being created.
    reports: Backoff,
    burst: Burst,
}

/// Reconciling came to an end before status could be reported.
#[derive(Debug, Error)]
enum ReconcileError {
    #[error("it cannot be unpacked: {0}")]
    Packed(#[from] serde_json::Error),
    #[error("it could not be read: {}", message(.0))]
    Read(#[source] Box<kube::Error>),
    #[error("the status could not be written: {}", message(.0))]
    Status(#[source] Box<kube::Error>),
}

/// What stands under the name of the pod, and who says so.
enum FoundPod {
    /// The API server has the object's own pod; the watch is about to show it.
    AheadOfWatch,
    CreateFailed {
        message: String,
        retry_in: Duration,
    },
    Leftover,
    NameTaken,
    Nothing,
    /// Admission knows the object in another state than this one.
    Outdated,
    Pod(Box<ObservedPod>),
    /// An attempt failed not long ago, and status tells of it.
    TooSoon(Duration),
    /// The object's own pod, of which this version cannot read a field.
    UnreadablePod {
        field: Box<str>,
    },
}

/// What is done where admission knows the object in another state than the one that a pod was built
/// from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum WhenOutdated {
    /// The pod is built anew.
    Rebuild,
    /// It is a failure like any other, reported and tried again later.
    Report,
}

impl Context {
    async fn reconcile<K: Owner>(&self, packed: &Packed<K>) -> Result<Action, ReconcileError> {
        if packed
            .meta()
            .deletion_timestamp
            .is_some()
        {
            return Ok(Action::await_change());
        }
        self.leader.stores.ready().await;
        if let Some(field) = packed.unreadable() {
            return self
                .tell_unreadable(packed, field)
                .await;
        }
        let Some(mut object) = self.whole(packed).await? else {
            return Ok(Action::await_change());
        };
        let written = packed.summary.written.as_ref();
        for _ in 0..MOST_REBUILDS {
            if let Some(action) = self
                .attempt(&object, written, WhenOutdated::Rebuild)
                .await?
            {
                return Ok(action);
            }
            // What the watch has shown is behind: only a live read tells from what to build.
            match self.read::<K, _>(&object).await {
                Ok(Some(Readable::Read(live))) if live.meta().deletion_timestamp.is_none() => {
                    object = live;
                }
                Ok(_) => return Ok(Action::await_change()),
                Err(_) => break,
            }
        }
        let action = self
            .attempt(&object, written, WhenOutdated::Report)
            .await?;
        Ok(action.unwrap_or_else(Action::await_change))
    }

    /// The object itself; `None` where it is gone or about to be, or cannot be read any more.
    ///
    /// RBAC: `get` on agents and tools.
    async fn whole<K: Owner>(&self, packed: &Packed<K>) -> Result<Option<K>, ReconcileError> {
        if packed.is_kept() {
            return Ok(Some(packed.unpack()?));
        }
        let live = self
            .read::<K, _>(packed)
            .await
            .map_err(|error| ReconcileError::Read(Box::new(error)))?;
        Ok(match live {
            Some(Readable::Read(live)) if live.meta().deletion_timestamp.is_none() => Some(live),
            _ => None,
        })
    }

    /// Says in the status of an object that it cannot be read. Its pod stays as it is: nobody can tell what
    /// it should be.
    async fn tell_unreadable<K: Owner>(
        &self,
        packed: &Packed<K>,
        field: &str,
    ) -> Result<Action, ReconcileError> {
        let subject = Reconciled {
            written: packed.summary.written.as_ref(),
            ..Reconciled::of_unreadable(packed, field)
        };
        let name = ObjectRef::new(&subject.pod).within(&subject.namespace);
        let found = self
            .leader
            .stores
            .pods
            .get(&name)
            .filter(|pod| Ownership::of(pod.meta(), packed) == Ownership::Ours)
            .map(|pod| own_pod(&pod))
            .transpose()?;
        let seen = match &found {
            Some(FoundPod::Pod(pod)) => PodObservation::Pod(pod),
            Some(FoundPod::UnreadablePod { field }) => PodObservation::UnreadablePod { field },
            _ => PodObservation::Nothing,
        };
        let status = status(&subject, seen, now());
        self.report(packed, &subject, status)
            .await?;
        Ok(Action::await_change())
    }

    /// Reads the object as it is now.
    ///
    /// RBAC: `get` on agents and tools.
    async fn read<K: Owner, O: ResourceExt>(
        &self,
        object: &O,
    ) -> Result<Option<Readable<K>>, kube::Error> {
        let namespace = object.namespace().unwrap_or_default();
        Api::<Readable<K>>::namespaced(self.leader.client.clone(), &namespace)
            .get_opt(&object.name_any())
            .await
    }

    /// Brings the object up and reports on it; `None` where its pod has to be built from another state
    /// of it.
    async fn attempt<K: Owner>(
        &self,
        object: &K,
        written: Option<&WrittenStatus>,
        when_outdated: WhenOutdated,
    ) -> Result<Option<Action>, ReconcileError> {
        let Leader { policy, stores, .. } = &*self.leader;
        let is_listed = || stores.users.has(object, &stores.agents);
        let subject = Reconciled {
            written,
            ..object.subject(policy, is_listed)
        };
        let found = self
            .find(object, &subject, when_outdated)
            .await?;
        let (seen, action) = match &found {
            FoundPod::AheadOfWatch => return Ok(Some(Action::requeue(RECHECK))),
            FoundPod::Outdated => return Ok(None),
            FoundPod::TooSoon(wait) => return Ok(Some(Action::requeue(*wait))),
            FoundPod::CreateFailed { message, retry_in } => (
                PodObservation::CreateFailed(message),
                Action::requeue(*retry_in),
            ),
            FoundPod::Leftover => (PodObservation::Leftover, Action::requeue(RECHECK)),
            FoundPod::NameTaken => (PodObservation::NameTaken, Action::requeue(NAME_TAKEN_RETRY)),
            FoundPod::Nothing => (PodObservation::Nothing, Action::await_change()),
            FoundPod::Pod(pod) => (PodObservation::Pod(pod), Action::await_change()),
            FoundPod::UnreadablePod { field } => (
                PodObservation::UnreadablePod { field },
                Action::await_change(),
            ),
        };
        let status = status(&subject, seen, now());
        if let FoundPod::Pod(pod) = &found {
            let is_starting = is_just_starting(&status, subject.written);
            let grace = grace(is_starting, self.burst.pressure(Instant::now()));
            if let Some(wait) = remaining(grace, pod, Timestamp::now()) {
                return Ok(Some(Action::requeue(wait)));
            }
        }
        self.report(object, &subject, status)
            .await?;
        self.reports.forget(&key(object));
        if !matches!(found, FoundPod::CreateFailed { .. }) {
            self.pods.forget(&key(object));
        }
        Ok(Some(action))
    }

    /// Forgets what failed of an object.
    fn forget(&self, key: &Key) {
        self.pods.forget(key);
        self.reports.forget(key);
    }

    /// Finds the pod, or creates it where it is missing and wanted.
    async fn find<K: Owner>(
        &self,
        object: &K,
        subject: &Reconciled<'_>,
        when_outdated: WhenOutdated,
    ) -> Result<FoundPod, ReconcileError> {
        let name = ObjectRef::new(&subject.pod).within(&subject.namespace);
        if let Some(pod) = self.leader.stores.pods.get(&name) {
            return Ok(match Ownership::of(pod.meta(), object) {
                Ownership::Foreign => FoundPod::NameTaken,
                Ownership::Leftover => FoundPod::Leftover,
                Ownership::Ours => own_pod(&pod)?,
            });
        }
        if !subject.wants_pod() {
            return Ok(FoundPod::Nothing);
        }
        if let Some(wait) = self
            .pods
            .remaining(&key(object), subject.generation)
        {
            return Ok(FoundPod::TooSoon(wait));
        }
        Ok(match self.create(object, subject).await {
            Ok(found) => found,
            Err(kube::Error::Api(error))
                if error.is_conflict() && when_outdated == WhenOutdated::Rebuild =>
            {
                FoundPod::Outdated
            }
            Err(error) => {
                let message = message(&error);
                let noted = self
                    .pods
                    .fail(key(object), subject.generation, &message);
                if noted.is_news {
                    warn!(
                        kind = subject.kind,
                        namespace = subject.namespace,
                        name = subject.name,
                        error = message,
                        "the pod could not be created, trying again"
                    );
                }
                FoundPod::CreateFailed {
                    message,
                    retry_in: noted.retry_in,
                }
            }
        })
    }

    /// Creates the pod. Its name is unique, so a second one can never come of a stale view.
    async fn create<K: Owner>(
        &self,
        object: &K,
        subject: &Reconciled<'_>,
    ) -> Result<FoundPod, kube::Error> {
        let pods: Api<Pod> = Api::namespaced(self.leader.client.clone(), &subject.namespace);
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let _creating = self.burst.creating();
        match pods
            .create(&params, &object.pod())
            .await
        {
            Ok(_) => {
                self.pods.forget(&key(object));
                info!(
                    kind = subject.kind,
                    namespace = subject.namespace,
                    name = subject.name,
                    pod = subject.pod,
                    "the pod was created"
                );
                Ok(FoundPod::AheadOfWatch)
            }
            Err(kube::Error::Api(error)) if error.is_already_exists() => {
                // Not with our label, or not seen yet: only a live look can tell.
                let pods = Api::<Readable<ObservedPod>>::namespaced(
                    self.leader.client.clone(),
                    &subject.namespace,
                );
                let Some(pod) = pods.get_opt(&subject.pod).await? else {
                    return Ok(FoundPod::AheadOfWatch);
                };
                Ok(match Ownership::of(pod.meta(), object) {
                    Ownership::Foreign => FoundPod::NameTaken,
                    Ownership::Leftover => FoundPod::Leftover,
                    Ownership::Ours => FoundPod::AheadOfWatch,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Writes the status if it differs, and tells of a new problem by an Event.
    async fn report<K: Reported>(
        &self,
        object: &K,
        subject: &Reconciled<'_>,
        status: Status,
    ) -> Result<(), ReconcileError> {
        if subject
            .written
            .is_some_and(|written| written.is(&status))
        {
            return Ok(());
        }
        let api: Api<Readable<K>> = Api::namespaced(self.leader.client.clone(), &subject.namespace);
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patched = api
            .patch_status(&subject.name, &params, &Patch::Merge(patch(&status)))
            .await;
        match patched {
            Ok(_) => {}
            // Deleted in the meantime.
            Err(kube::Error::Api(error)) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(ReconcileError::Status(Box::new(error))),
        }
        if let Some(problem) = problem(&status, subject.written) {
            self.warn(object, &problem.reason, &problem.message)
                .await;
        }
        Ok(())
    }

    /// Events are for people who look in time; that one is lost is no reason to stop. There are
    /// none for what goes well: status tells it, and each one more is a write for every Agent.
    async fn warn<K: Resource<DynamicType = ()>>(&self, object: &K, reason: &str, note: &str) {
        let event = Event {
            type_: EventType::Warning,
            reason: reason.to_owned(),
            note: Some(cut(note).to_owned()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let reference = object.object_ref(&());
        if let Err(error) = self
            .leader
            .recorder
            .publish(&event, &reference)
            .await
        {
            debug!(reason, %error, "an Event was lost");
        }
    }

    fn failed<K: Resource<DynamicType = ()>>(&self, object: &K, error: &ReconcileError) -> Action {
        let said = error.to_string();
        let noted = self
            .reports
            .fail(key(object), object.meta().generation, &said);
        if noted.is_news {
            let (namespace, name) = key(object);
            let error = hide_credentials(&said);
            warn!(kind = %K::kind(&()), namespace, name, %error, "an object could not be reconciled, trying again");
        }
        Action::requeue(noted.retry_in)
    }
}

/// The object's own pod, as the watch has shown it.
fn own_pod(pod: &Packed<ObservedPod>) -> serde_json::Result<FoundPod> {
    Ok(match pod.unreadable() {
        Some(field) => FoundPod::UnreadablePod {
            field: field.into(),
        },
        None => FoundPod::Pod(Box::new(pod.unpack()?)),
    })
}

/// What the API server says for itself, without the client's words around it, and without what it
/// repeats of the object and nobody should. The same trouble has the same words, whatever part of a
/// connection it was seen in.
fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => {
            // Who lacks a right lacks it for every object, and what stands behind it changes while an API
            // server starts.
            let said = match status
                .message
                .split_once(" is forbidden: User ")
            {
                Some((_, lacks)) => {
                    let (lacks, _) = lacks
                        .split_once(": RBAC: ")
                        .unwrap_or((lacks, ""));
                    format!("forbidden: User {lacks}")
                }
                None => status.message.clone(),
            };
            hide_credentials(&said).into_owned()
        }
        kube::Error::HyperError(_) | kube::Error::Service(_) => {
            "the API server cannot be reached".to_owned()
        }
        other => hide_credentials(&other.to_string()).into_owned(),
    }
}

/// An object whose pod is younger than this is not reported.
fn grace(is_starting: bool, pressure: Pressure) -> Duration {
    match (is_starting, pressure) {
        (_, Pressure::Burst) | (true, Pressure::Aftermath) => BURST_GRACE,
        (true, Pressure::Calm) => START_GRACE,
        (false, _) => Duration::ZERO,
    }
}

/// How long until a pod is that old, or until it is worth another look. One from the future is old
/// enough: then the clocks differ, and nobody knows for how long.
fn remaining(grace: Duration, pod: &ObservedPod, now: Timestamp) -> Option<Duration> {
    let created = pod
        .metadata
        .creation_timestamp
        .as_ref()?
        .0;
    let age = Duration::try_from(now.duration_since(created)).ok()?;
    grace
        .checked_sub(age)
        .filter(|wait| !wait.is_zero())
        .map(|wait| wait.min(BURST_RECHECK))
}

/// The time in whole seconds, as Kubernetes writes it.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn key<K: Resource>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn cut(note: &str) -> &str {
    let end = note
        .char_indices()
        .map(|(at, character)| at + character.len_utf8())
        .take_while(|&end| end <= LONGEST_NOTE)
        .last();
    note.split_at(end.unwrap_or_default()).0
}

#[cfg(test)]
mod tests;
