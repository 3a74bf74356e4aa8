use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{self, Event, Reporter},
};

/// The number of objects after which kube's recorder is replaced.
const MOST: usize = 256;

/// Publishes Events.
///
/// kube's recorder remembers every reported object for minutes, and then until the next Event. Here
/// it is replaced once it holds enough objects. The only loss is that a repeated Event counts as a
/// new one.
pub(super) struct EventRecorder {
    client: Client,
    reporter: Reporter,
    current: Mutex<Current>,
}

struct Current {
    recorder: events::Recorder,
    published: usize,
}

impl EventRecorder {
    pub(super) fn new(client: Client, reporter: Reporter) -> Self {
        Self {
            current: Mutex::new(Current {
                recorder: events::Recorder::new(client.clone(), reporter.clone()),
                published: 0,
            }),
            client,
            reporter,
        }
    }

    /// Publishes an Event about an object, in its namespace.
    ///
    /// RBAC: `create`, `patch` on events of events.k8s.io.
    pub(super) async fn publish(
        &self,
        event: &Event,
        about: &ObjectReference,
    ) -> Result<(), kube::Error> {
        self.next().publish(event, about).await
    }

    /// The recorder for the next Event.
    fn next(&self) -> events::Recorder {
        // A panic while the lock was held cannot have left the state inconsistent.
        let mut current = self
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if current.published == MOST {
            *current = Current {
                recorder: events::Recorder::new(self.client.clone(), self.reporter.clone()),
                published: 0,
            };
        }
        current.published += 1;
        current.recorder.clone()
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::events::EventType;
    use serde_json::json;

    use super::*;
    use crate::fake_api::{Api as FakeApi, Reply};

    #[tokio::test]
    async fn an_event_is_counted_while_it_is_remembered_and_no_longer() {
        let api = FakeApi::default();
        let taken = Reply::ok(json!({"metadata": {}, "eventTime": null}));
        api.on("POST", "/events", taken.clone());
        api.on("PATCH", "/events", taken);
        let recorder = EventRecorder::new(api.client(), "agentkube-manager".into());
        let publish = async |name: &str| {
            let event = Event {
                type_: EventType::Warning,
                reason: "PodCreateFailed".to_owned(),
                note: None,
                action: "Reconcile".to_owned(),
                secondary: None,
            };
            let about = ObjectReference {
                name: Some(name.to_owned()),
                namespace: Some("team".to_owned()),
                ..ObjectReference::default()
            };
            recorder
                .publish(&event, &about)
                .await
                .unwrap();
        };
        publish("bot").await;
        publish("bot").await;
        assert_eq!(api.count("POST", "/events"), 1);
        assert_eq!(api.count("PATCH", "/events"), 1);
        for index in 0..MOST {
            publish(&format!("other-{index}")).await;
        }
        publish("bot").await;
        assert_eq!(api.count("POST", "/events"), 1 + MOST + 1);
        assert_eq!(api.count("PATCH", "/events"), 1);
    }
}
