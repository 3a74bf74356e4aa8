//! Reconciles one Agent or Tool, each time that something about it changes.

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

/// The number of objects of a kind that are reconciled in parallel.
const CONCURRENCY: u16 = 16;
/// The most rebuilds of a pod in a row because its owner has changed. Each time the owner is read
/// just before, so only a change during one call to the API server can interfere; and every change
/// triggers reconciliation again.
const MOST_REBUILDS: usize = 8;
/// The delay before a pod that is ahead of the watch is looked at again.
const RECHECK: Duration = Duration::from_secs(5);
/// The delay before a taken name is checked again. A pod without our label is not watched.
const NAME_TAKEN_RETRY: Duration = Duration::from_secs(30);
/// The age before which a pod is not reported as starting. Most pods whose images are on the node
/// run by then, which saves a status write.
const START_GRACE: Duration = Duration::from_secs(2);
/// The same during a burst, for any report: creating pods comes first, and most of them run by
/// then.
const BURST_GRACE: Duration = Duration::from_secs(5 * 60);
/// The delay before a pod that is reported later is looked at again.
const BURST_RECHECK: Duration = Duration::from_secs(15);
/// The longest note of an Event, in bytes. The API server refuses longer ones.
const LONGEST_NOTE: usize = 1000;

/// The state of the leader.
pub(super) struct Leader {
    pub(super) client: Client,
    pub(super) policy: Arc<Policy>,
    pub(super) recorder: EventRecorder,
    pub(super) stores: Stores,
}

/// An object with a status, readable or not.
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

/// Reconciles each object of `queue` until the queue ends.
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
            // `failed` has logged the failures. An object that is gone is not retried.
            if let Err(controller::Error::ObjectNotFound(object)) = result {
                let namespace = object.namespace.unwrap_or_default();
                context.forget(&(namespace, object.name));
            }
        })
        .await;
}

struct Context {
    leader: Arc<Leader>,
    /// Failures to create pods.
    pods: Backoff,
    /// Other failures, mostly of status. They do not keep pods from being created.
    reports: Backoff,
    burst: Burst,
}

/// An error that ended reconciliation before status could be reported.
#[derive(Debug, Error)]
enum ReconcileError {
    #[error("it cannot be unpacked: {0}")]
    Packed(#[from] serde_json::Error),
    #[error("it could not be read: {}", message(.0))]
    Read(#[source] Box<kube::Error>),
    #[error("the status could not be written: {}", message(.0))]
    Status(#[source] Box<kube::Error>),
}

/// The pod found under the expected name, and the source of that knowledge.
enum FoundPod {
    /// The API server has the object's own pod, but the watch has not shown it yet.
    AheadOfWatch,
    CreateFailed {
        message: String,
        retry_in: Duration,
    },
    Leftover,
    NameTaken,
    Nothing,
    /// Admission knows another state of the object.
    Outdated,
    Pod(Box<ObservedPod>),
    /// An attempt failed recently, and status reports it.
    TooSoon(Duration),
    /// The object's own pod, with a field that this version cannot read.
    UnreadablePod {
        field: Box<str>,
    },
}

/// The reaction when a pod was built from a state of the object that admission does not know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum WhenOutdated {
    /// The pod is built again.
    Rebuild,
    /// It is reported and retried later, like any other failure.
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
            // The watch is behind, so the state to build from has to be read live.
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

    /// The object itself; `None` if it is gone, being deleted or unreadable.
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

    /// Reports in the status of an object that it cannot be read. Its pod is left unchanged, since
    /// the wanted pod is unknown.
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

    /// Reads the current object.
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

    /// Creates the pod and reports on it; `None` if the pod has to be built from another state of
    /// the object.
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

    /// Forgets the failures of an object.
    fn forget(&self, key: &Key) {
        self.pods.forget(key);
        self.reports.forget(key);
    }

    /// Finds the pod, or creates it if it is missing and wanted.
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

    /// Creates the pod. Its name is unique, so a stale view can never lead to a second one.
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
                // The pod lacks our label or has not been seen yet, so it is read live.
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

    /// Writes the status if it differs, and publishes an Event for a new problem.
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
            // The object was deleted in the meantime.
            Err(kube::Error::Api(error)) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(ReconcileError::Status(Box::new(error))),
        }
        if let Some(problem) = problem(&status, subject.written) {
            self.warn(object, &problem.reason, &problem.message)
                .await;
        }
        Ok(())
    }

    /// Publishes an Event. A lost one is no reason to stop. Successes have none: status reports
    /// them, and each Event is another write for every Agent.
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
            debug!(reason, %error, "an Event could not be published");
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

/// The message of the API server, without the client's words around it and without credentials. The
/// same problem always has the same message, whichever part of a connection failed.
fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => {
            // A missing right is missing for every object, and the rest of the message changes
            // while an API server starts.
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

/// The age before which a pod is not reported.
fn grace(is_starting: bool, pressure: Pressure) -> Duration {
    match (is_starting, pressure) {
        (_, Pressure::Burst) | (true, Pressure::Aftermath) => BURST_GRACE,
        (true, Pressure::Calm) => START_GRACE,
        (false, _) => Duration::ZERO,
    }
}

/// The time until the pod has that age, or until it should be looked at again. A pod from the
/// future counts as old enough: the clocks differ by an unknown amount.
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

/// The current time in whole seconds, as Kubernetes writes it.
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
