//! What the registration tells the API server of pods that need no second look.
//!
//! ```text
//! [ Policy::suspects ] -> [ matchConditions of the validating webhook for pods ] -> only suspects come
//! ```
//!
//! The call that is spared costs more than everything that is done in it. Without the condition all
//! pods come, and nothing else changes: it is never waited for.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    runtime::watcher::{self, Event},
};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{certificates::ca_bundle, pace::Pace};

/// The webhook that sees pods after every mutation
const WEBHOOK: &str = "validate.pods.agentkube.io";
/// The name of the condition, which no one else writes
const CONDITION: &str = "is-suspect";
/// Another than that of caBundle: what is applied under one name is everything that is its own
const FIELD_MANAGER: &str = "agentkube-manager-conditions";

/// Keeps `expression` among the conditions under which pods come to the validating webhook, until it
/// is dropped
///
/// To be run by the leader only: while a rollout changes what is allowed, two replicas would write
/// over each other. Mutation goes by the new policy from the first new replica on.
///
/// RBAC: `list`, `watch` and `patch` on the validatingwebhookconfiguration [`ca_bundle::NAME`].
pub async fn single_out(client: Client, expression: &str) {
    let api = Api::<ValidatingWebhookConfiguration>::all(client);
    let config = watcher::Config::default().fields(&format!("metadata.name={}", ca_bundle::NAME));
    let registration = watch::Sender::new(None);
    let follow = crate::watch::follow(api.clone(), config, trim, |event| match event {
        Event::Init | Event::InitDone => {}
        Event::InitApply(seen) | Event::Apply(seen) => {
            registration.send_replace(Some(seen));
        }
        Event::Delete(_) => {
            registration.send_replace(None);
        }
    });
    futures::join!(follow, keep(&api, registration.subscribe(), expression));
}

fn trim(registration: &mut ValidatingWebhookConfiguration) {
    registration.metadata.managed_fields = None;
}

async fn keep(
    api: &Api<ValidatingWebhookConfiguration>,
    mut registration: watch::Receiver<Option<ValidatingWebhookConfiguration>>,
    expression: &str,
) {
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let mut pace = Pace::default();
    let mut is_failing = false;
    while registration.changed().await.is_ok() {
        if let Some(later) = pace.wait_until(Instant::now()) {
            sleep_until(later).await;
        }
        let patch = registration
            .borrow_and_update()
            .as_ref()
            .and_then(|seen| missing(seen, expression));
        let Some(patch) = patch else { continue };
        pace.wrote(Instant::now());
        match api
            .patch(ca_bundle::NAME, &params, &Patch::Apply(&patch))
            .await
        {
            Ok(_) => {
                is_failing = false;
                tracing::info!(
                    webhook = WEBHOOK,
                    "only suspects come to the validating webhook"
                );
            }
            // Pods come all the same, so once is enough to say so.
            Err(error) if !is_failing => {
                is_failing = true;
                tracing::warn!(webhook = WEBHOOK, %error, "every pod comes to the validating webhook, because its condition cannot be written");
                registration.mark_changed();
            }
            Err(_) => registration.mark_changed(),
        }
    }
}

/// What to apply, where the registration has the webhook, and not the condition
///
/// The `uid` is there because applying would otherwise create a registration that was just deleted.
fn missing(registration: &ValidatingWebhookConfiguration, expression: &str) -> Option<Value> {
    let webhook = registration
        .webhooks
        .iter()
        .flatten()
        .find(|webhook| webhook.name == WEBHOOK)?;
    let is_there = webhook
        .match_conditions
        .iter()
        .flatten()
        .any(|condition| condition.name == CONDITION && condition.expression == expression);
    (!is_there).then(|| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": ca_bundle::NAME, "uid": registration.metadata.uid},
            "webhooks": [{
                "name": WEBHOOK,
                "matchConditions": [{"name": CONDITION, "expression": expression}],
            }],
        })
    })
}
