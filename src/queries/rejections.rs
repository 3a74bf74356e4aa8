use std::cmp::Reverse;

use jiff::Timestamp;
use kube::{Client, ResourceExt, api::ApiResource};

use super::pages::{PAGE, Pages, UnreadableList};
use crate::api::{Readable, Rejection, UnreadableObject};

/// A filter for Rejections.
#[derive(Debug, Default)]
pub(crate) struct RejectionFilter {
    pub(crate) after: Option<Timestamp>,
    pub(crate) user: Option<String>,
    pub(crate) reason: Option<String>,
}

impl RejectionFilter {
    pub(crate) fn takes(&self, rejection: &Rejection) -> bool {
        let spec = &rejection.spec;
        let Self {
            after,
            user,
            reason,
        } = self;
        after.is_none_or(|after| spec.last_seen.0 >= after)
            && user
                .as_ref()
                .is_none_or(|user| spec.user == *user)
            && reason
                .as_ref()
                .is_none_or(|reason| spec.reason == *reason)
    }
}

/// The Rejections of a cluster.
#[derive(Debug, Default)]
pub(crate) struct FoundRejections {
    /// The readable Rejections, latest first, without `managedFields`.
    pub(crate) rejections: Vec<Rejection>,
    /// The Rejections that this version cannot read.
    pub(crate) unreadable: Vec<UnreadableObject>,
}

/// Reads the matching Rejections of one namespace, or else of all. After each page it reports the
/// numbers of objects that were read and that remain.
///
/// RBAC: `list` on rejections.
///
/// # Errors
///
/// The list cannot be read.
pub(crate) async fn rejections(
    client: &Client,
    namespace: Option<&str>,
    filter: &RejectionFilter,
    mut progress: impl FnMut(usize, usize),
) -> Result<FoundRejections, UnreadableList> {
    let kind = ApiResource::erase::<Rejection>(&());
    let mut pages = Pages::<Readable<Rejection>>::new(client, kind, namespace, PAGE);
    let mut found = FoundRejections::default();
    while let Some(page) = pages.next().await? {
        progress(page.items.len(), page.remaining());
        for object in page.items {
            match object.read() {
                Ok(rejection) if !filter.takes(&rejection) => {}
                Ok(mut rejection) => {
                    rejection.metadata.managed_fields = None;
                    found.rejections.push(rejection);
                }
                Err(unread) => found.unreadable.push(*unread),
            }
        }
    }
    found
        .rejections
        .sort_by_key(|rejection| {
            (
                Reverse(rejection.spec.last_seen.0),
                rejection.namespace(),
                rejection.name_any(),
            )
        });
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::queries::summary::{Denials, RejectionSummary};

    fn rejection(namespace: &str, user: &str, reason: &str, count: i64) -> Rejection {
        serde_json::from_value(json!({
            "apiVersion": "agentkube.io/v1alpha1",
            "kind": "Rejection",
            "metadata": {"namespace": namespace, "name": "agent-bot"},
            "spec": {
                "object": {"group": "agentkube.io", "kind": "Agent", "name": "bot"},
                "operation": "CREATE", "user": user, "decision": "deny",
                "reason": reason, "field": "spec.image", "message": "spec.image: Required value",
                "count": count, "firstSeen": "2026-01-01T00:00:00Z", "lastSeen": "2026-01-02T00:00:00Z",
            },
        }))
        .unwrap()
    }

    fn all() -> [Rejection; 3] {
        [
            rejection("team", "alice", "ImageRequired", 40),
            rejection("team", "bob", "UnknownRuntime", 1),
            rejection("other", "alice", "ImageRequired", 7),
        ]
    }

    #[test]
    fn filters_leave_only_what_is_asked_for() {
        let filter =
            |user: Option<&str>, reason: Option<&str>, after: Option<&str>| RejectionFilter {
                after: after.map(|after| after.parse().unwrap()),
                user: user.map(str::to_owned),
                reason: reason.map(str::to_owned),
            };
        let taken = |filter: RejectionFilter| {
            all()
                .iter()
                .filter(|rejection| filter.takes(rejection))
                .count()
        };
        assert_eq!(taken(RejectionFilter::default()), 3);
        assert_eq!(taken(filter(Some("alice"), None, None)), 2);
        assert_eq!(taken(filter(None, Some("UnknownRuntime"), None)), 1);
        assert_eq!(taken(filter(None, None, Some("2026-01-02T00:00:00Z"))), 3);
        assert_eq!(taken(filter(None, None, Some("2026-01-02T00:00:01Z"))), 0);
    }

    #[test]
    fn a_summary_counts_denials_and_not_rejections() {
        let summary = RejectionSummary::of(&all());
        let denials = |name: &str, count| Denials {
            name: name.to_owned(),
            count,
        };
        assert_eq!(
            summary.reasons,
            [denials("ImageRequired", 47), denials("UnknownRuntime", 1)]
        );
        assert_eq!(
            summary.namespaces,
            [denials("team", 41), denials("other", 7)]
        );
        assert_eq!(summary.users, [denials("alice", 47), denials("bob", 1)]);
    }
}
