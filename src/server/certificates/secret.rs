//! Certificates that the manager issues itself and keeps in a Secret, shared by all replicas.
//!
//! ```text
//! [ Secret ] -> examine -> good: serve it
//!                       -> absent: create, or take what another replica created first
//!                       -> flawed: mend it, if nobody else did meanwhile; the last good pair is served until then
//! ```
//!
//! The Secret is the only place where replicas agree. Each write is guarded, a creation by the name
//! and an update by the `resourceVersion`, so that of several replicas that start at once one wins
//! and the others read.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, pin_mut};
use jiff::Timestamp;
use k8s_openapi::{
    ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::PostParams,
    runtime::{
        WatchStreamExt,
        watcher::{self, DefaultBackoff, Event, watcher},
    },
};
use tokio::{sync::watch, time::sleep};

use crate::server::{
    Shutdown,
    certificates::{
        Said,
        issue::{Authority, IssueError, Leaf, Lifetimes, names_in},
    },
    tls::{Pair, PairError, ServingCertificate},
};

/// The Secret's name, in the manager's namespace
pub const NAME: &str = "agentkube-webhook-tls";

/// The authorities that clients have to trust, as PEM; `None` until they are known
pub type Authorities = Option<Arc<[u8]>>;

/// Keeps the Secret in order and serves what it holds
pub struct SecretCertificates {
    secrets: Api<Secret>,
    names: Vec<String>,
    lifetimes: Lifetimes,
    serving: Arc<ServingCertificate>,
    authorities: watch::Sender<Authorities>,
    /// What is served, for mending a Secret that has lost it
    last_good: Option<Contents>,
    said: Said,
}

impl SecretCertificates {
    /// Certificates for these names (DNS names or IP addresses), in the Secret [`NAME`] of this
    /// namespace
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        names: Vec<String>,
        lifetimes: Lifetimes,
        serving: Arc<ServingCertificate>,
    ) -> Self {
        Self {
            secrets: Api::namespaced(client, namespace),
            names,
            lifetimes,
            serving,
            authorities: watch::Sender::new(None),
            last_good: None,
            said: Said::default(),
        }
    }

    /// Follows the authorities that the Secret holds, for the registrations' caBundle
    #[must_use]
    pub fn authorities(&self) -> watch::Receiver<Authorities> {
        self.authorities.subscribe()
    }

    /// Bootstraps the Secret and follows it until the shutdown has finished
    ///
    /// Trouble is logged once and tried again. A deleted Secret is created anew with a new
    /// authority: deleting it is how an operator asks for that.
    ///
    /// Needs RBAC in the manager's namespace: `create` on `secrets`, and `get`, `list`, `watch`,
    /// `update` on the Secret [`NAME`].
    pub async fn follow(mut self, shutdown: Shutdown) {
        tokio::select! {
            () = self.follow_forever() => {}
            () = shutdown.finished() => {}
        }
    }

    async fn follow_forever(&mut self) {
        let config = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
        let events = watcher(self.secrets.clone(), config).default_backoff();
        pin_mut!(events);
        let mut listed = false;
        // The stream never ends: it starts anew after each error.
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed = false,
                Ok(Event::InitApply(secret)) => {
                    listed = true;
                    self.settle(Some(secret)).await;
                }
                Ok(Event::InitDone) if listed => {}
                Ok(Event::InitDone | Event::Delete(_)) => {
                    // Deleted, so its authority is not wanted any more. The pair itself is served
                    // until there is another.
                    self.last_good = None;
                    self.settle(None).await;
                }
                Ok(Event::Apply(secret)) => self.settle(Some(secret)).await,
                Err(error) => self.trouble(&error),
            }
        }
    }

    /// Brings Secret and served pair into order, however long it takes
    async fn settle(&mut self, mut secret: Option<Secret>) {
        let mut backoff = DefaultBackoff::default();
        loop {
            let outcome = self.ensure(secret).await;
            match outcome {
                Ok(()) => {
                    if self.said.over() {
                        tracing::info!(secret = NAME, "the certificate's Secret is in order again");
                    }
                    return;
                }
                Err(error) => self.trouble(&error),
            }
            sleep(backoff.next().unwrap_or(LONGEST_PAUSE)).await;
            secret = loop {
                match self.secrets.get_opt(NAME).await {
                    Ok(secret) => break secret,
                    Err(error) => self.trouble(&error),
                }
                sleep(backoff.next().unwrap_or(LONGEST_PAUSE)).await;
            };
        }
    }

    /// One attempt, from what was last read of the Secret
    async fn ensure(&mut self, mut secret: Option<Secret>) -> Result<(), SecretError> {
        let params = PostParams::default();
        for _ in 0..ATTEMPTS {
            let now = Timestamp::now();
            let Some(found) = secret else {
                let (authority, leaf) = self.issue(None, &self.names, now)?;
                let wanted = new_secret(data(&authority, leaf));
                secret = match self
                    .secrets
                    .create(&params, &wanted)
                    .await
                {
                    Ok(created) => {
                        tracing::info!(
                            secret = NAME,
                            "a new authority and certificate were issued"
                        );
                        Some(created)
                    }
                    // Another replica was faster: its authority is ours.
                    Err(kube::Error::Api(status)) if status.is_already_exists() => {
                        self.secrets.get_opt(NAME).await?
                    }
                    Err(error) => return Err(error.into()),
                };
                continue;
            };
            let flaw = match examine(&found, &self.names, now) {
                Ok(contents) => {
                    self.adopt(contents);
                    return Ok(());
                }
                Err(flaw) => flaw,
            };
            if self.said.is_new(&flaw.to_string()) {
                let last_good = self.last_good.is_some();
                tracing::warn!(secret = NAME, %flaw, last_good, "the certificate's Secret cannot be served and is mended");
            }
            let mended = self.mend(found, now)?;
            secret = match self
                .secrets
                .replace(NAME, &params, &mended)
                .await
            {
                Ok(mended) => Some(mended),
                Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {
                    self.secrets.get_opt(NAME).await?
                }
                Err(error) => return Err(error.into()),
            };
        }
        Err(SecretError::Unsettled)
    }

    fn adopt(&mut self, contents: Contents) {
        if self
            .last_good
            .as_ref()
            .is_some_and(|last| last.same_as(&contents))
        {
            return;
        }
        tracing::info!(secret = NAME, not_after = %contents.pair.not_after(), "the certificate of the Secret is served");
        self.authorities
            .send_replace(Some(contents.authorities.clone()));
        self.serving
            .replace(contents.pair.clone());
        self.last_good = Some(contents);
    }

    /// The same Secret with a certificate that can be served; everything else in it stays
    fn mend(&self, mut secret: Secret, now: Timestamp) -> Result<Secret, IssueError> {
        let old = secret.data.take().unwrap_or_default();
        let authority = authority_in(&old, now).or_else(|| self.last_authority(now));
        // Names of the old certificate stay: two releases with different names would take turns for
        // ever.
        let mut names = self.names.clone();
        for name in names_in(field(&old, "tls.crt")) {
            if names.len() < MOST_NAMES && !names.contains(&name) {
                names.push(name);
            }
        }
        let (authority, leaf) = self.issue(authority, &names, now)?;
        secret.data = Some(
            old.into_iter()
                .chain(data(&authority, leaf))
                .collect(),
        );
        Ok(secret)
    }

    fn issue(
        &self,
        authority: Option<Authority>,
        names: &[String],
        now: Timestamp,
    ) -> Result<(Authority, Leaf), IssueError> {
        let authority = match authority {
            Some(authority) => authority,
            None => Authority::new(self.lifetimes.authority, now)?,
        };
        let leaf = authority.issue(names, self.lifetimes.serving, now)?;
        Ok((authority, leaf))
    }

    fn last_authority(&self, now: Timestamp) -> Option<Authority> {
        let last = self.last_good.as_ref()?;
        Authority::from_pem(&last.authorities, last.authority_key.as_deref()?, now).ok()
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

/// How often one attempt meets another replica's write before it pauses
const ATTEMPTS: usize = 5;

/// More names than any installation has, and a bound on what a hand-made certificate can bring in
const MOST_NAMES: usize = 32;

const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
enum SecretError {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("Secret `{NAME}` keeps changing (hint: look for another program that writes it)")]
    Unsettled,
}

/// A Secret that can be served
struct Contents {
    pair: Arc<Pair>,
    authorities: Arc<[u8]>,
    authority_key: Option<Vec<u8>>,
}

impl Contents {
    fn same_as(&self, other: &Self) -> bool {
        self.pair.chain() == other.pair.chain() && self.authorities == other.authorities
    }
}

/// Asks what the API server would ask of the certificate, for every name that it may use
///
/// The authority's key is not asked for: it is needed to issue, not to serve.
fn examine(secret: &Secret, names: &[String], now: Timestamp) -> Result<Contents, PairError> {
    let empty = BTreeMap::new();
    let data = secret.data.as_ref().unwrap_or(&empty);
    let pair = Pair::load(field(data, "tls.crt"), field(data, "tls.key"))?;
    let authorities = field(data, "ca.crt");
    pair.verify(authorities, names, now)?;
    Ok(Contents {
        pair: Arc::new(pair),
        authorities: authorities.into(),
        authority_key: data
            .get("ca.key")
            .map(|key| key.0.clone()),
    })
}

fn authority_in(data: &BTreeMap<String, ByteString>, now: Timestamp) -> Option<Authority> {
    Authority::from_pem(field(data, "ca.crt"), field(data, "ca.key"), now).ok()
}

fn field<'a>(data: &'a BTreeMap<String, ByteString>, key: &str) -> &'a [u8] {
    data.get(key)
        .map_or(&[], |value| &value.0)
}

fn data(authority: &Authority, leaf: Leaf) -> BTreeMap<String, ByteString> {
    [
        ("ca.crt", authority.certificate_pem().to_owned()),
        ("ca.key", authority.key_pem().to_owned()),
        ("tls.crt", leaf.chain_pem),
        ("tls.key", leaf.key_pem),
    ]
    .into_iter()
    .map(|(key, pem)| (key.to_owned(), ByteString(pem.into_bytes())))
    .collect()
}

fn new_secret(data: BTreeMap<String, ByteString>) -> Secret {
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
