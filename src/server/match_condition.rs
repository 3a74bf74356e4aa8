//! The match condition that spares the API server the validation of most pods.
//!
//! ```text
//! [ Policy::validation_match_condition ] -> [ matchConditions of the validating webhook for pods ] -> only suspects come
//! ```
//!
//! The spared call costs more than all the work in it. Without the condition every pod is validated, and
//! nothing else changes, so nothing waits for it.

use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    runtime::watcher::Event,
};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    certificates::ca_bundle::{self, ValidatingRegistration},
    write_backoff::WriteBackoff,
};
use crate::api::Readable;

/// The webhook that sees pods after every mutation.
const WEBHOOK: &str = "validate.pods.agentkube.io";
/// The name of the condition.
const CONDITION: &str = "is-suspect";
/// A separate field manager from that of caBundle: server-side apply removes fields that a manager no
/// longer sends.
const FIELD_MANAGER: &str = "agentkube-manager-conditions";

/// Keeps `expression` among the match conditions of the validating webhook for pods, until it is
/// dropped.
///
/// Only the leader may run it: while a rollout changes the policy, two replicas would overwrite each
/// other. Mutation follows the new policy from the first new replica on.
///
/// RBAC: `list`, `watch` and `patch` on the validatingwebhookconfiguration [`ca_bundle::NAME`].
pub async fn keep(client: Client, expression: &str) {
    let api = Api::<Readable<ValidatingRegistration>>::all(client);
    let patch = watch::Sender::new(None);
    let follow = crate::watch::follow(
        api.clone(),
        crate::watch::named(ca_bundle::NAME),
        |_| {},
        |event| match event {
            Event::InitDone => {}
            Event::InitApply(seen) | Event::Apply(seen) => {
                // The periodic checks report a registration that cannot be read.
                let seen = seen.as_read();
                patch.send_replace(seen.and_then(|seen| missing(seen, expression)));
            }
            Event::Init | Event::Delete(_) => {
                patch.send_replace(None);
            }
        },
    );
    futures::join!(follow, apply(&api, patch.subscribe()));
}

/// Applies each patch until it succeeds.
async fn apply(
    api: &Api<Readable<ValidatingRegistration>>,
    mut patches: watch::Receiver<Option<Value>>,
) {
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let mut backoff = WriteBackoff::default();
    let mut is_failing = false;
    while patches.changed().await.is_ok() {
        if let Some(later) = backoff.wait_until(Instant::now()) {
            sleep_until(later).await;
        }
        let Some(patch) = patches.borrow_and_update().clone() else {
            continue;
        };
        backoff.wrote(Instant::now());
        match api
            .patch(ca_bundle::NAME, &params, &Patch::Apply(&patch))
            .await
        {
            Ok(_) => {
                is_failing = false;
                tracing::info!(
                    webhook = WEBHOOK,
                    "only suspect pods are sent to the validating webhook"
                );
            }
            // Logged once, since pods are validated anyway.
            Err(error) if !is_failing => {
                is_failing = true;
                tracing::warn!(webhook = WEBHOOK, %error, "every pod is sent to the validating webhook, because its match condition cannot be written");
                patches.mark_changed();
            }
            Err(_) => patches.mark_changed(),
        }
    }
}

/// The patch to apply, if the registration has the webhook but not the condition.
///
/// The `uid` prevents an apply from recreating a registration that was just deleted.
fn missing(registration: &ValidatingRegistration, expression: &str) -> Option<Value> {
    let webhook = registration
        .webhooks
        .iter()
        .find(|webhook| webhook.name == WEBHOOK)?;
    let is_there = webhook
        .match_conditions
        .iter()
        .any(|condition| condition.name == CONDITION && condition.expression == expression);
    (!is_there).then(|| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": ValidatingRegistration::kind(&()),
            "metadata": {"name": ca_bundle::NAME, "uid": registration.metadata.uid},
            "webhooks": [{
                "name": WEBHOOK,
                "matchConditions": [{"name": CONDITION, "expression": expression}],
            }],
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The patch for a registration with these fields, if it can be read.
    fn patch(metadata: &Value, webhook: &Value) -> Option<Value> {
        let object = json!({"metadata": metadata, "webhooks": [webhook]});
        let registration: Readable<ValidatingRegistration> =
            serde_json::from_value(object).unwrap();
        missing(registration.as_read()?, "true")
    }

    #[test]
    fn the_condition_is_added_where_it_is_missing_whatever_else_cannot_be_read() {
        let metadata = json!({"name": ca_bundle::NAME, "uid": "1234", "managedFields": [
            {"manager": "x", "operation": "Update", "time": "9999-12-31T23:59:59Z"},
        ]});
        let webhook = |conditions: Value| {
            json!({"name": WEBHOOK, "clientConfig": {}, "timeoutSeconds": "newer",
                "matchConditions": conditions})
        };
        let other = json!([{"name": "other", "expression": "true"}]);
        let patch_of_other = patch(&metadata, &webhook(other)).unwrap();
        assert_eq!(
            patch_of_other,
            json!({
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingWebhookConfiguration",
                "metadata": {"name": "agentkube-manager", "uid": "1234"},
                "webhooks": [{
                    "name": WEBHOOK,
                    "matchConditions": [{"name": CONDITION, "expression": "true"}],
                }],
            })
        );
        let ours = json!([{"name": CONDITION, "expression": "true"}]);
        assert_eq!(patch(&metadata, &webhook(ours)), None);
        let unreadable = json!([{"name": 5}]);
        assert_eq!(patch(&metadata, &webhook(unreadable)), None);
    }
}
