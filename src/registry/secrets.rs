use std::{collections::HashMap, time::Duration};

use tokio::sync::Mutex;

use super::{AskError, Credentials, credentials::CredentialPlace, secret::Secret};
use crate::images::ImageReference;

/// Credentials, and what the helpers said that keep some of them: each is asked once a registry.
pub(super) struct Secrets {
    credentials: Credentials,
    deadline: Duration,
    /// Held while a helper runs. There is one of them at a time: some ask a person, and some
    /// cannot be run twice at once.
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

    /// What the registry of an image is told about who asks.
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
