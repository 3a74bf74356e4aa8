//! The part of an Agent or a Tool that the leader holds unpacked.

use super::{packed::Pack, written_status::WrittenStatus};
use crate::{api::UnreadableObject, reconciler::owner::Owner};

/// The fields that other objects and the next status depend on.
#[derive(Clone, Debug, Default)]
pub(in crate::reconciler) struct Summary {
    /// The Tools that an Agent lists.
    pub(in crate::reconciler) tools: Box<[Box<str>]>,
    /// True if the Agent brings up the Tools that it lists.
    pub(in crate::reconciler) is_armed: bool,
    /// The status as last written.
    pub(in crate::reconciler) written: Option<WrittenStatus>,
}

/// Drops the status, since the summary keeps the part that matters.
impl<K: Owner> Pack for K {
    const IS_ALWAYS_KEPT: bool = false;

    type Summary = Summary;

    fn summary(&self) -> Summary {
        Summary {
            tools: self.tools().map(Into::into).collect(),
            is_armed: self.is_armed(),
            written: self.status().map(WrittenStatus::of),
        }
    }

    fn summary_of_unreadable(unread: &UnreadableObject) -> Summary {
        Summary {
            written: unread
                .status
                .as_ref()
                .map(WrittenStatus::of),
            ..Summary::default()
        }
    }

    fn trim(&mut self) {
        *self.status_mut() = None;
        let metadata = self.meta_mut();
        metadata.annotations = None;
        metadata.creation_timestamp = None;
        metadata.finalizers = None;
        metadata.managed_fields = None;
        metadata.owner_references = None;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::reconciler::memory::packed::LONGEST_KEPT_BYTES;

    use crate::{api::Agent, reconciler::memory::packed::Packed};

    #[test]
    fn a_large_object_is_known_in_brief() {
        let agent = |bytes: usize| -> Packed<Agent> {
            serde_json::from_value(json!({
                "metadata": {"name": "bot", "namespace": "team", "uid": "u", "generation": 3},
                "spec": {"runtime": "Codex", "paused": false, "goal": {"inline": "x".repeat(bytes)}},
            }))
            .unwrap()
        };
        assert!(agent(10).is_kept());
        let large = agent(LONGEST_KEPT_BYTES);
        assert!(!large.is_kept());
        assert!(large.summary.is_armed);
    }

    #[test]
    fn what_a_pod_is_made_of_comes_out_as_it_went_in() {
        let whole = json!({
            "apiVersion": "agentkube.io/v1alpha1",
            "kind": "Agent",
            "metadata": {
                "name": "bot", "namespace": "adaptive", "uid": "uid-1", "generation": 3,
                "labels": {"agentkube.io/agentgroup": "team"}, "annotations": {"note": "long"},
                "finalizers": ["example.com/hold"], "deletionTimestamp": "2026-11-22T14:00:00Z",
            },
            "spec": {"runtime": "Codex", "mode": "supervised", "paused": false, "tools": [{"name": "browser"}],
                "resources": {"limits": {"cpu": "1"}}},
            "status": {"phase": "Running"},
        });
        let packed: Packed<Agent> = serde_json::from_value(whole.clone()).unwrap();
        assert_eq!(*packed.summary.tools, ["browser".into()]);
        assert!(packed.summary.is_armed);
        assert!(packed.summary.written.is_some());
        let mut expected = whole;
        expected["metadata"]
            .as_object_mut()
            .unwrap()
            .retain(|name, _| name != "annotations" && name != "finalizers");
        expected
            .as_object_mut()
            .unwrap()
            .remove("status");
        assert_eq!(
            serde_json::to_value(packed.unpack().unwrap()).unwrap(),
            expected
        );
    }
}
