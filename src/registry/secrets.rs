use std::{collections::HashMap, time::Duration};

use tokio::sync::Mutex;

use super::{AskError, Credentials, credentials::CredentialPlace, secret::Secret};
use crate::images::ImageReference;

/// Credentials, with a cache of the helpers' answers: a helper runs once per registry.
pub(super) struct Secrets {
    credentials: Credentials,
    deadline: Duration,
    /// Locked while a helper runs, so only one runs at a time: some prompt the user, and some do not
    /// support concurrent runs.
    told: Mutex<HashMap<String, Result<Option<Secret>, AskError>>>,
}

impl Secrets {
    pub(super) fn new(credentials: Credentials, deadline: Duration) -> Self {
        Self {
            credentials,
            deadline,
            told: Mutex::default(),
        }
    }

    /// The credential for the registry of an image.
    pub(super) async fn of(&self, reference: &ImageReference) -> Result<Option<Secret>, AskError> {
        let (helper, server) = match self
            .credentials
            .find(reference.host(), reference.path())
        {
            CredentialPlace::Here(secret) => return Ok(Some(secret.clone())),
            CredentialPlace::Helper(helper, server) => (helper, server),
            CredentialPlace::Nowhere => return Ok(None),
        };
        let mut told = self.told.lock().await;
        if let Some(known) = told.get(&server) {
            return known.clone();
        }
        let answer = helper
            .secret(&server, self.deadline)
            .await;
        told.insert(server, answer.clone());
        answer
    }
}
