//! Finds references whose rights were possibly never checked, as far as a live object shows.

use jiff::Timestamp;
use serde_json::Value;

use super::{Category, ScanFinding, ScannedKind, Severity, object::ScannedObject};
use crate::admission::{Author, Cause, Creation, Reason, Reference, Review, credential};

/// The times since which the API server itself has checked references; `None` if it does not.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct AskedSince {
    /// For references of Agents.
    pub agents: Option<Timestamp>,
    /// For references of Tools.
    pub tools: Option<Timestamp>,
}

/// An object as a review that would create it now.
pub(super) fn review<'v>(object: &ScannedObject<'v>) -> Option<Review<'v>> {
    let (group, kind, resource) = object.kind.names();
    Review::of(Creation {
        group,
        kind,
        resource,
        namespace: object.namespace,
        name: object.name,
        object: object.value,
    })
    .ok()
}

/// The references from before the API server itself checked them.
pub(super) fn unasked(object: &ScannedObject<'_>, since: AskedSince) -> Vec<ScanFinding> {
    let since = match object.kind {
        ScannedKind::Agent => since.agents,
        ScannedKind::Tool => since.tools,
        ScannedKind::Pod => return Vec::new(),
    };
    // Objects created later were checked, and so is each change that affects what runs.
    if since.is_some_and(|since| created(object.value) >= Some(since)) {
        return Vec::new();
    }
    let Some(review) = review(object) else {
        return Vec::new();
    };
    review
        .references()
        .iter()
        .filter_map(|reference| {
            let written = Written::of(object.value, &reference.field);
            let is_asked = since.is_some_and(|since| {
                written
                    .as_ref()
                    .is_some_and(|written| written.at >= since)
            });
            (!is_asked).then(|| finding(object, reference, written, since))
        })
        .collect()
}

/// The references that a possible author of the object may not use.
pub(super) fn not_permitted(
    object: &ScannedObject<'_>,
    review: &Review<'_>,
    author: &Author,
    permitted: &[Reference<'_>],
) -> Vec<ScanFinding> {
    let user = credential::quote(&author.username);
    let namespace = credential::quote(object.namespace);
    review
        .references()
        .iter()
        .filter(|reference| !permitted.contains(reference))
        .map(|reference| {
            let cause = Cause {
                reason: Reason::ReferenceNotPermitted,
                field: reference.field.clone(),
                message: format!(
                    "Forbidden: names {}, which user {user} may not use, nor may they create pods in namespace {namespace} (hint: find out who wrote it; if it was this user, remove the reference or grant the right)",
                    named(reference)
                ),
            };
            ScanFinding::of_cause(object, Category::Refused, Severity::High, cause)
        })
        .collect()
}

fn finding(
    object: &ScannedObject<'_>,
    reference: &Reference<'_>,
    written: Option<Written<'_>>,
    since: Option<Timestamp>,
) -> ScanFinding {
    let written = written.map_or_else(String::new, |Written { at, manager }| {
        format!(", last written by {} at {at}", credential::quote(manager))
    });
    let why = match since {
        Some(since) => format!("the API server itself has only checked references since {since}"),
        None => "the API server itself does not check references".to_owned(),
    };
    ScanFinding::new(
        object,
        Category::Unasked,
        Severity::Medium,
        reference.field.as_str(),
        format!(
            "names {}{written}, and {why}: at most the webhooks have checked that its author may use it (hint: check users with --author, or have a user who may use it create the object again)",
            named(reference)
        ),
    )
}

fn named(reference: &Reference<'_>) -> String {
    match reference.most {
        Some(most) => format!("more than {most} {}s", reference.kind),
        None => format!("{} {}", reference.kind, credential::quote(reference.name)),
    }
}

fn created(object: &Value) -> Option<Timestamp> {
    time(object.pointer("/metadata/creationTimestamp")?)
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// The last write to a field and its program, from `metadata.managedFields`. The same program may
/// have written something else at that time, and anyone who may write the object can forge it.
struct Written<'v> {
    at: Timestamp,
    manager: &'v str,
}

impl<'v> Written<'v> {
    fn of(object: &'v Value, field: &str) -> Option<Self> {
        // A list is always written as a whole.
        let (field, _) = field
            .split_once('[')
            .unwrap_or((field, ""));
        let pointer: String = field
            .split('.')
            .flat_map(|member| ["/f:", member])
            .collect();
        object
            .pointer("/metadata/managedFields")?
            .as_array()?
            .iter()
            .filter(|entry| {
                entry
                    .get("fieldsV1")
                    .is_some_and(|fields| fields.pointer(&pointer).is_some())
            })
            .filter_map(|entry| {
                Some(Self {
                    at: time(entry.get("time")?)?,
                    manager: entry
                        .get("manager")
                        .and_then(Value::as_str)
                        .unwrap_or_default(),
                })
            })
            .max_by_key(|written| written.at)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EARLY: &str = "2026-11-01T10:00:00Z";
    const SINCE: &str = "2026-11-02T10:00:00Z";
    const LATE: &str = "2026-11-03T10:00:00Z";

    fn bot(created: &str, written: &str) -> Value {
        json!({
            "metadata": {
                "name": "bot", "namespace": "team", "creationTimestamp": created,
                "managedFields": [
                    {"manager": "kubectl", "time": written, "fieldsV1": {"f:spec": {
                        "f:agentToken": {"f:secretRef": {"f:name": {}}}, "f:imagePullSecrets": {},
                    }}},
                    {"manager": "labeller", "time": LATE, "fieldsV1": {"f:metadata": {"f:labels": {}}}},
                ],
            },
            "spec": {
                "runtime": "Codex",
                "agentToken": {"secretRef": {"name": "token", "key": "key"}},
                "imagePullSecrets": [{"name": "mirror"}],
            },
        })
    }

    fn fields(object: &Value, since: Option<&str>) -> Vec<String> {
        let since = AskedSince {
            agents: since.map(|since| since.parse().unwrap()),
            tools: None,
        };
        unasked(&ScannedObject::new(ScannedKind::Agent, object), since)
            .into_iter()
            .map(|finding| finding.field)
            .collect()
    }

    #[test]
    fn what_was_named_before_anybody_asked_is_found() {
        let both = ["spec.agentToken.secretRef", "spec.imagePullSecrets[0]"];
        for (created, written, since) in [
            (EARLY, EARLY, Some(SINCE)),
            (EARLY, EARLY, None),
            (LATE, LATE, None),
        ] {
            assert_eq!(fields(&bot(created, written), since), both);
        }
        for (created, written) in [
            (EARLY, LATE),
            (LATE, LATE),
            // The creation time of an object cannot be forged.
            (LATE, EARLY),
        ] {
            assert_eq!(fields(&bot(created, written), Some(SINCE)), [""; 0]);
        }
    }

    #[test]
    fn what_names_nothing_is_no_finding_and_no_trace_is_no_proof() {
        let plain = json!({"metadata": {"name": "bot"}, "spec": {"runtime": "Codex"}});
        assert_eq!(fields(&plain, None), [""; 0]);
        let mut untraced = bot(EARLY, LATE);
        untraced["metadata"]["managedFields"] = json!([]);
        assert_eq!(fields(&untraced, Some(SINCE)).len(), 2);
    }

    #[test]
    fn a_message_says_what_when_and_by_which_program() {
        let since = AskedSince {
            agents: Some(SINCE.parse().unwrap()),
            tools: None,
        };
        let bot = bot(EARLY, EARLY);
        let found = unasked(&ScannedObject::new(ScannedKind::Agent, &bot), since);
        insta::assert_snapshot!(found[0].message, @r#"names Secret "token", last written by "kubectl" at 2026-11-01T10:00:00Z, and the API server itself has only checked references since 2026-11-02T10:00:00Z: at most the webhooks have checked that its author may use it (hint: check users with --author, or have a user who may use it create the object again)"#);
    }
}
