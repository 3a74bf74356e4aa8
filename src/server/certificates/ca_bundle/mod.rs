//! Makes the API server trust our certificate: writes the authorities into both registrations and keeps
//! them there.
//!
//! Missing authorities are added at once; unneeded ones are removed late, since another replica may
//! still serve under them. A bundle that another program wrote is left unchanged if it holds our
//! authorities.

mod live;
mod owner;
mod registration;
mod takeover;

pub use self::{
    owner::{Injector, owner_of_bundles},
    registration::{
        MutatingRegistration, NAME, RegisteredRule, RegisteredWebhook, Registration,
        ValidatingRegistration,
    },
};

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    runtime::watcher::{self, Event},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use self::{
    live::{LiveRegistration, OtherOwner},
    takeover::TakeoverAttempts,
};
use crate::{
    api::Readable,
    log_once::LogOnce,
    server::{
        Shutdown,
        certificates::{
            bundle::Bundle,
            secret::{self, Authorities},
            trust::Trust,
        },
        probes::Flag,
        write_backoff::WriteBackoff,
    },
    telemetry::Problem,
    watch::{begins_anew, events, named, why_unreadable},
};

/// Reports about one registration: its readiness, and whether another program disputes it.
#[derive(Debug)]
pub struct CaBundleReport {
    /// Passes once the registration has held the authorities, and stays so: a replica that left the
    /// Service over a later conflict would help nobody.
    pub flag: Flag,
    /// Set while another program keeps writing the bundle.
    pub contested: Problem,
}

/// Keeps the authorities in the `caBundle` of both registrations.
///
/// Uses server-side apply, and only if an authority is missing; all other fields stay with their owners.
/// A missing registration is never created, only waited for. A wiped bundle is restored. A bundle that
/// another program keeps writing is left to it after two attempts, and one that an annotation assigns to
/// another program at once.
pub struct CaBundleKeepers {
    /// The client of the API server.
    pub client: Client,
    /// The namespace of the Secret.
    pub namespace: String,
    /// The authorities that the registrations must hold.
    pub authorities: watch::Receiver<Authorities>,
    /// Publishes what both registrations hold.
    pub trust: watch::Sender<Trust>,
    /// The time for which replicas wait before they serve a certificate of a new authority. An unneeded
    /// authority is removed after twice as long.
    pub overlap: Duration,
    /// The report about the mutating webhooks.
    pub mutating: CaBundleReport,
    /// The report about the validating webhooks.
    pub validating: CaBundleReport,
}

impl CaBundleKeepers {
    /// Keeps them until the shutdown has finished.
    ///
    /// RBAC: `list` and `watch` on `mutatingwebhookconfigurations` and
    /// `validatingwebhookconfigurations`, and `patch` on those named [`NAME`]; `get` on the Secret
    /// [`secret::NAME`].
    pub async fn keep(self, shutdown: Shutdown) {
        let Self {
            client,
            namespace,
            authorities,
            trust,
            overlap,
            mutating,
            validating,
        } = self;
        let secrets = Api::namespaced(client.clone(), &namespace);
        let mutate = Keeper::<MutatingRegistration>::new(
            client.clone(),
            secrets.clone(),
            trust.clone(),
            overlap,
            mutating,
        );
        let validate =
            Keeper::<ValidatingRegistration>::new(client, secrets, trust, overlap, validating);
        let both =
            futures::future::join(mutate.run(authorities.clone()), validate.run(authorities));
        tokio::select! {
            _ = both => {}
            () = shutdown.finished() => {}
        }
    }
}

struct Keeper<K> {
    api: Api<Readable<K>>,
    secrets: Api<Readable<Secret>>,
    trust: watch::Sender<Trust>,
    overlap: Duration,
    report: CaBundleReport,
    live: Option<LiveRegistration>,
    /// True if the list that is being read has the registration.
    is_listed: bool,
    backoff: WriteBackoff,
    takeovers: TakeoverAttempts,
    /// The unneeded authorities in the registration, and since when they are there.
    surplus: Option<(Bundle, Instant)>,
    said: LogOnce,
}

impl<K: Registration> Keeper<K> {
    fn new(
        client: Client,
        secrets: Api<Readable<Secret>>,
        trust: watch::Sender<Trust>,
        overlap: Duration,
        report: CaBundleReport,
    ) -> Self {
        Self {
            api: Api::all(client),
            secrets,
            trust,
            overlap,
            report,
            live: None,
            is_listed: false,
            backoff: WriteBackoff::default(),
            takeovers: TakeoverAttempts::default(),
            surplus: None,
            said: LogOnce::default(),
        }
    }

    async fn run(mut self, mut authorities: watch::Receiver<Authorities>) {
        let mut events = events(self.api.clone(), named(NAME));
        let mut retry: Option<Instant> = None;
        let mut known: Authorities = None;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.see(event),
                    None => return,
                },
                Ok(()) = authorities.changed() => {}
                () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {}
            }
            let now_known = authorities.borrow_and_update().clone();
            if now_known != known {
                // The back-off is for conflicts only: until new authorities are written, the API server
                // cannot call us.
                self.backoff = WriteBackoff::default();
                known = now_known;
            }
            retry = match &known {
                Some(wanted) => {
                    self.settle(wanted, Instant::now())
                        .await
                }
                None => None,
            };
        }
    }

    fn see(&mut self, event: Result<Event<Readable<K>>, watcher::Error>) {
        match event {
            Ok(Event::Init) => {
                self.is_listed = false;
                return;
            }
            Ok(Event::InitApply(registration) | Event::Apply(registration)) => {
                self.is_listed = true;
                self.learn(registration);
            }
            Ok(Event::InitDone) if self.is_listed => {}
            Ok(Event::InitDone | Event::Delete(_)) => {
                self.live = None;
                let why = format!(
                    "{} `{NAME}` does not exist (hint: apply the manifests)",
                    K::kind(&())
                );
                self.trouble(why);
            }
            Err(error) if begins_anew(&error) => {}
            Err(error) => {
                self.trouble(format!(
                    "{} `{NAME}` cannot be watched: {error}",
                    K::kind(&())
                ));
                return;
            }
        }
        self.tell();
    }

    /// Records the state of the registration. One that cannot be read is left unchanged.
    fn learn(&mut self, registration: Readable<K>) {
        self.live = match registration.read() {
            Ok(registration) => Some(LiveRegistration::of(&registration)),
            Err(unread) => {
                let why = why_unreadable(&unread.field);
                self.trouble(format!(
                    "{} `{NAME}` is left unchanged: {why}",
                    K::kind(&())
                ));
                None
            }
        };
    }

    /// Publishes what the registration holds.
    fn tell(&self) {
        let held = self
            .live
            .as_ref()
            .map(LiveRegistration::carried)
            .unwrap_or_default();
        self.trust
            .send_modify(|trust| K::seen(trust).update(&held, Instant::now()));
    }

    /// Corrects the bundle if it is ours to write. Returns the time of the next look.
    async fn settle(&mut self, wanted: &Bundle, now: Instant) -> Option<Instant> {
        let live = self.live.as_ref()?;
        if live.carries(wanted) {
            self.report.flag.pass();
            self.report.contested.set(false);
            if self.said.is_over() {
                tracing::info!(registration = NAME, kind = %K::kind(&()), "caBundle is correct again");
            }
            return self.prune(wanted, now).await;
        }
        self.surplus = None;
        if let Some(later) = self.backoff.wait_until(now) {
            return Some(later);
        }
        match live.rival() {
            Some(rival @ OtherOwner::Injector(_)) => return self.give_way(&rival),
            Some(rival) if self.takeovers.is_lost(now) => return self.give_way(&rival),
            Some(OtherOwner::Writer(manager)) => {
                tracing::warn!(registration = NAME, kind = %K::kind(&()), manager, "caBundle was written by another program, and is restored");
                self.takeovers.answered(now);
            }
            None => {}
        }
        self.report.contested.set(false);
        let bundle = live.extended(wanted);
        self.write(&bundle, now).await
    }

    /// Leaves the bundle to another program, and logs it.
    fn give_way(&mut self, rival: &OtherOwner) -> Option<Instant> {
        self.report.contested.set(true);
        let kind = K::kind(&());
        self.trouble(match rival {
            OtherOwner::Injector(injector) => format!(
                "caBundle of {kind} `{NAME}` is left to {}, because the registration has the annotation `{}` (hint: mount the matching certificate and set --tls-dir, or remove the annotation)",
                injector.program, injector.annotation
            ),
            OtherOwner::Writer(manager) => format!(
                "caBundle of {kind} `{NAME}` keeps being written by `{manager}` and is left to it (hint: stop it from writing caBundle, then remove caBundle or restart the manager; or mount its certificate and set --tls-dir)"
            ),
        });
        None
    }

    /// Removes unneeded authorities once no replica can need them.
    async fn prune(&mut self, wanted: &Bundle, now: Instant) -> Option<Instant> {
        let live = self.live.as_ref()?;
        let besides = live.besides(wanted);
        if besides.certificates().is_empty() || live.rival().is_some() {
            self.surplus = None;
            return None;
        }
        let since = match &self.surplus {
            Some((known, since)) if *known == besides => *since,
            _ => now,
        };
        self.surplus = Some((besides.clone(), since));
        let due = since + self.overlap * 2;
        if now < due {
            return Some(due);
        }
        // Our own watch of the Secret may lag behind.
        match self.secrets.get_opt(secret::NAME).await {
            Ok(secret) => {
                let current = match secret.map(Readable::read) {
                    Some(Ok(secret)) => secret
                        .data
                        .and_then(|data| Bundle::parse(&data.get("ca.crt")?.0).ok())
                        .unwrap_or_default(),
                    // Its contents are unknown.
                    Some(Err(_)) => return Some(now + RECHECK),
                    None => Bundle::default(),
                };
                if besides
                    .certificates()
                    .iter()
                    .any(|certificate| current.contains(certificate))
                {
                    self.surplus = None;
                    return Some(now + RECHECK);
                }
            }
            Err(_) => return Some(now + RECHECK),
        }
        self.write(wanted, now).await
    }

    async fn write(&mut self, bundle: &Bundle, now: Instant) -> Option<Instant> {
        let patch = self.live.as_ref()?.patch::<K>(bundle);
        let params = PatchParams::apply(NAME).force();
        self.backoff.wrote(now);
        match self
            .api
            .patch(NAME, &params, &Patch::Apply(&patch))
            .await
        {
            Ok(registration) => {
                tracing::info!(registration = NAME, kind = %K::kind(&()), authorities = bundle.certificates().len(), "caBundle was written");
                self.learn(registration);
                self.surplus = None;
                self.report.flag.pass();
                self.tell();
                None
            }
            Err(error) => {
                self.trouble(format!(
                    "caBundle of {} `{NAME}` cannot be written: {error}",
                    K::kind(&())
                ));
                self.backoff
                    .wait_until(Instant::now())
                    .or(Some(now))
            }
        }
    }

    fn trouble(&mut self, why: String) {
        if self.said.is_new(&why) {
            tracing::warn!("{why}");
        }
        self.report.flag.fail_unless_passed(why);
    }
}

/// The time until unneeded authorities are looked for again.
const RECHECK: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
