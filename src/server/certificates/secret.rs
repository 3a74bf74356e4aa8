//! Certificates that the manager issues itself and keeps in a Secret that all replicas share.
//!
//! ```text
//! [ Secret ] -> examine -> good: serve it, once the API server trusts it; renew it in time
//!                       -> absent: create, or take what another replica created first
//!                       -> flawed: mend it, if nobody else did meanwhile; the last good pair is served until then
//! ```
//!
//! The Secret is the only state that replicas share. Each write is guarded, a creation by the name and
//! an update by the `resourceVersion`, so of several replicas that start at once one wins and the others
//! read. `rotation` alone decides what is written and when.
//!
//! If the Secret changes, a replica keeps serving its pair until it has seen the authority of the new
//! one in both registrations for a while, and requests both authorities there until then. So no change
//! of the Secret, by hand or by deletion, exposes the API server to a certificate that it cannot trust
//! yet. Only an expired pair is dropped at once.

use std::{future::Future, sync::Arc, time::Duration};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client,
    api::PostParams,
    runtime::watcher::{DefaultBackoff, Event},
};
use rustls::pki_types::CertificateDer;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    api::Readable,
    log_once::LogOnce,
    server::{
        Shutdown,
        certificates::{
            bundle::Bundle,
            issue::{IssueError, Lifetimes},
            pair::PairError,
            rotation::{self, Contents, Data, Step},
            trust::Trust,
        },
        tls::ServingCertificate,
    },
    watch::{begins_anew, events, named, why_unreadable},
};

/// The Secret's name, in the manager's namespace.
pub const NAME: &str = "agentkube-webhook-tls";

/// The authorities that clients have to trust; `None` until they are known.
pub type Authorities = Option<Arc<Bundle>>;

/// The expiry of the certificate in a Secret, if a manager with these names would serve it.
///
/// # Errors
///
/// The reason why it would not be served.
pub fn not_after(
    secret: &Secret,
    names: &[String],
    now: Timestamp,
) -> Result<Timestamp, PairError> {
    let empty = Data::new();
    let data = secret.data.as_ref().unwrap_or(&empty);
    Contents::examine(data, names, now).map(|contents| contents.pair.not_after())
}

/// Maintains the Secret and serves its certificate.
pub struct SecretCertificates {
    secrets: Api<Readable<Secret>>,
    names: Vec<String>,
    lifetimes: Lifetimes,
    serving: Arc<ServingCertificate>,
    authorities: watch::Sender<Authorities>,
    trust: watch::Receiver<Trust>,
    known: Known,
    /// The last good contents of the Secret, to repair it.
    last_good: Option<Contents>,
    /// The authority of the served pair.
    served_issuer: Option<CertificateDer<'static>>,
    /// After a failed attempt, the time of the next one.
    pause: Option<Instant>,
    backoff: DefaultBackoff,
    said: LogOnce,
}

impl SecretCertificates {
    /// Certificates for these names (DNS names or IP addresses), in the Secret [`NAME`] of this
    /// namespace. `trust` is published by [`CaBundleKeepers`](super::ca_bundle::CaBundleKeepers).
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        names: Vec<String>,
        lifetimes: Lifetimes,
        serving: Arc<ServingCertificate>,
        trust: watch::Receiver<Trust>,
    ) -> Self {
        Self {
            secrets: Api::namespaced(client, namespace),
            names,
            lifetimes,
            serving,
            authorities: watch::Sender::new(None),
            trust,
            known: Known::Nothing,
            last_good: None,
            served_issuer: None,
            pause: None,
            backoff: DefaultBackoff::default(),
            said: LogOnce::default(),
        }
    }

    /// A receiver of the authorities that the registrations' caBundle must hold.
    #[must_use]
    pub fn authorities(&self) -> watch::Receiver<Authorities> {
        self.authorities.subscribe()
    }

    /// Creates the Secret, follows it and renews its contents until the shutdown has finished.
    ///
    /// Errors are logged once and retried. A deleted Secret is recreated with a new authority: deleting
    /// it is how an operator requests one.
    ///
    /// RBAC, in the manager's namespace: `create` on `secrets`, and `get`, `list`, `watch`, `update` on
    /// the Secret [`NAME`].
    pub async fn follow(mut self, shutdown: Shutdown) {
        tokio::select! {
            () = self.follow_forever() => {}
            () = shutdown.finished() => {}
        }
    }

    async fn follow_forever(&mut self) {
        let mut events = events(self.secrets.clone(), named(NAME));
        let mut trust = self.trust.clone();
        let mut listed = false;
        let mut wake = None;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(Event::Init)) => {
                        listed = false;
                        continue;
                    }
                    Some(Ok(Event::InitApply(secret) | Event::Apply(secret))) => {
                        listed = true;
                        self.known = Known::of(secret);
                        // After a change, a failed attempt may succeed.
                        self.pause = None;
                    }
                    Some(Ok(Event::InitDone)) if listed => continue,
                    Some(Ok(Event::InitDone | Event::Delete(_))) => {
                        // Deleted, so its authority is no longer wanted. The pair itself is served until
                        // the API server trusts another.
                        self.last_good = None;
                        self.known = Known::Absent;
                        self.pause = None;
                    }
                    Some(Err(error)) => {
                        if !begins_anew(&error) {
                            self.trouble(&error);
                        }
                        continue;
                    }
                    // The stream never ends: it restarts after each error.
                    None => return,
                },
                Ok(()) = trust.changed() => {}
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
            if !matches!(self.known, Known::Nothing) || self.pause.is_some() {
                wake = self.attempt().await;
            }
        }
    }

    /// Corrects the Secret and the served pair as far as possible now. Returns the time of the next
    /// look.
    async fn attempt(&mut self) -> Option<Instant> {
        // The known contents may still be served while the API server is unreachable.
        let is_paused = self
            .pause
            .is_some_and(|until| until > Instant::now());
        if is_paused {
            let serve = self.serve(Timestamp::now());
            return earliest([self.pause, serve]);
        }
        match self.ensure().await {
            Ok(until) => {
                self.pause = None;
                self.backoff = DefaultBackoff::default();
                if self.said.is_over() {
                    tracing::info!(secret = NAME, "the certificate's Secret is valid again");
                }
                until
            }
            Err(error) => {
                self.trouble(&error);
                // The known state may be outdated.
                self.known = Known::Nothing;
                let pause = self
                    .backoff
                    .next()
                    .unwrap_or(LONGEST_PAUSE);
                self.pause = Some(Instant::now() + pause);
                let serve = self.serve(Timestamp::now());
                earliest([self.pause, serve])
            }
        }
    }

    /// One attempt, from the last known state of the Secret.
    async fn ensure(&mut self) -> Result<Option<Instant>, SecretError> {
        let params = PostParams::default();
        for _ in 0..ATTEMPTS {
            let now = Timestamp::now();
            if matches!(self.known, Known::Nothing) {
                let secret = in_time(self.secrets.get_opt(NAME)).await??;
                self.known = secret.map_or(Known::Absent, Known::of);
            }
            let secret = match std::mem::take(&mut self.known) {
                Known::Present(secret) => Some(*secret),
                Known::Absent | Known::Nothing => None,
                Known::Unreadable { field } => return Err(SecretError::Unreadable { field }),
            };
            let Some(found) = secret else {
                let wanted = new_secret(rotation::fresh(self.lifetimes, &self.names, now)?);
                let wanted = Readable::Read(wanted);
                match in_time(self.secrets.create(&params, &wanted)).await? {
                    Ok(created) => {
                        tracing::info!(
                            secret = NAME,
                            "a new authority and certificate were issued"
                        );
                        self.known = Known::of(created);
                    }
                    // Another replica was faster, and its authority is used.
                    Err(kube::Error::Api(status)) if status.is_already_exists() => {}
                    Err(error) => return Err(error.into()),
                }
                continue;
            };
            let empty = Data::new();
            let data = found.data.as_ref().unwrap_or(&empty);
            let (wanted, what) = match Contents::examine(data, &self.names, now) {
                Ok(contents) => {
                    self.adopt(contents);
                    let serve = self.serve(now);
                    match self.step(now)? {
                        Step::Wait(until) => {
                            self.known = Known::Present(Box::new(found));
                            return Ok(earliest([
                                serve,
                                self.trust_wake(),
                                Some(instant(until, now)),
                            ]));
                        }
                        Step::Write { data, what } => (data, what),
                    }
                }
                Err(flaw) => {
                    if self.said.is_new(&flaw.to_string()) {
                        let last_good = self.last_good.is_some();
                        tracing::warn!(secret = NAME, %flaw, last_good, "the certificate's Secret cannot be served and is repaired");
                    }
                    let last_good = self.last_good.as_ref();
                    let wanted =
                        rotation::repaired(data, last_good, self.lifetimes, &self.names, now)?;
                    (wanted, "the certificate's Secret was repaired")
                }
            };
            let wanted = Readable::Read(Secret {
                data: Some(wanted),
                ..found
            });
            match in_time(
                self.secrets
                    .replace(NAME, &params, &wanted),
            )
            .await?
            {
                Ok(written) => {
                    tracing::info!(secret = NAME, "{what}");
                    self.known = Known::of(written);
                }
                // Another replica was faster.
                Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(SecretError::Unsettled)
    }

    fn adopt(&mut self, contents: Contents) {
        if self
            .last_good
            .as_ref()
            .is_none_or(|last| !last.same_as(&contents))
        {
            tracing::debug!(secret = NAME, not_after = %contents.pair.not_after(), "the Secret holds a good certificate");
        }
        self.last_good = Some(contents);
    }

    /// Serves the last good pair once it is trusted, and publishes the authorities that the
    /// registrations must hold. Returns the time of the next look.
    fn serve(&mut self, now: Timestamp) -> Option<Instant> {
        let good = self.last_good.as_ref()?;
        let served = self.serving.pair();
        let is_served = served
            .as_ref()
            .is_some_and(|served| served.chain() == good.pair.chain());
        let trusted = self.trusted_from(&good.issuer);
        let usable = served.is_some_and(|served| served.validity().check(now).is_ok());
        let is_due = !usable || trusted.is_some_and(|from| from <= Instant::now());
        if !is_served && is_due {
            tracing::info!(secret = NAME, not_after = %good.pair.not_after(), "the certificate of the Secret is served");
            self.serving.replace(good.pair.clone());
        }
        if is_served || is_due {
            self.served_issuer = Some(good.issuer.clone());
        }
        let wanted: Bundle = good
            .bundle
            .certificates()
            .iter()
            .chain(&self.served_issuer)
            .cloned()
            .collect();
        self.authorities
            .send_if_modified(|authorities| {
                let differs = authorities.as_deref() != Some(&wanted);
                if differs {
                    *authorities = Some(Arc::new(wanted));
                }
                differs
            });
        if is_served || is_due { None } else { trusted }
    }

    fn step(&self, now: Timestamp) -> Result<Step, IssueError> {
        let Some(good) = &self.last_good else {
            return Ok(Step::Wait(now));
        };
        let is_trusted = |authority: &CertificateDer<'_>| {
            self.trusted_from(authority)
                .is_some_and(|from| from <= Instant::now())
        };
        good.step(self.lifetimes, &self.names, is_trusted, now)
    }

    /// The time at which an announced authority will have been in the registrations for long enough.
    fn trust_wake(&self) -> Option<Instant> {
        let next = self.last_good.as_ref()?.announced()?;
        self.trusted_from(next)
    }

    fn trusted_from(&self, authority: &CertificateDer<'_>) -> Option<Instant> {
        let since = self.trust.borrow().since(authority)?;
        Some(since + self.lifetimes.overlap())
    }

    fn trouble(&mut self, error: &dyn std::error::Error) {
        let text = error.to_string();
        if self.said.is_new(&text) {
            tracing::warn!(
                secret = NAME,
                error = text,
                "the certificate's Secret cannot be read or written, trying again"
            );
        }
    }
}

/// The last known state of the Secret.
#[derive(Debug, Default)]
enum Known {
    Absent,
    /// Unknown; the Secret must be read.
    #[default]
    Nothing,
    Present(Box<Secret>),
    /// The Secret exists, but this version cannot read it.
    Unreadable {
        field: String,
    },
}

impl Known {
    fn of(secret: Readable<Secret>) -> Self {
        match secret.read() {
            Ok(secret) => Self::Present(Box::new(secret)),
            Err(unread) => Self::Unreadable {
                field: unread.field,
            },
        }
    }
}

/// The most write conflicts of one attempt before it pauses.
const ATTEMPTS: usize = 5;

const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Deadline of a request, since updates are not served while it runs.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Limits sleeps, which do not notice when the clock is set.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
enum SecretError {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("the API server does not answer")]
    Timeout,
    #[error("{}", why_unreadable(field))]
    Unreadable { field: String },
    #[error("Secret `{NAME}` keeps changing (hint: look for another program that writes it)")]
    Unsettled,
}

async fn in_time<F: Future>(request: F) -> Result<F::Output, SecretError> {
    timeout(REQUEST_TIMEOUT, request)
        .await
        .map_err(|_| SecretError::Timeout)
}

fn earliest<const N: usize>(times: [Option<Instant>; N]) -> Option<Instant> {
    times.into_iter().flatten().min()
}

/// The expected instant of a wall-clock time.
fn instant(time: Timestamp, now: Timestamp) -> Instant {
    let pause = Duration::try_from(time.duration_since(now)).unwrap_or_default();
    Instant::now() + pause.min(LONGEST_SLEEP)
}

fn new_secret(data: Data) -> Secret {
    let labels = [(
        "app.kubernetes.io/managed-by".to_owned(),
        "agentkube".to_owned(),
    )];
    Secret {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            labels: Some(labels.into()),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests;
