//! What the schemas and the webhooks let through can be read by the types that the manager works with,
//! and nothing is refused that could be.

#![cfg(test)]

mod generator;

use std::sync::Arc;

use agentkube::{
    admission::Policy,
    api::{Agent, Tool},
    offline::{Document, Reviewer, Verdict},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use generator::{Random, object, spec_schema};

/// How many objects are made of each kind.
const OBJECTS: u64 = 50_000;

/// How many of them have to get through, or the test would say nothing.
const FEWEST_ADMITTED: u64 = OBJECTS / 10;

fn can_be_read<T: DeserializeOwned>(object: &Value) -> bool {
    serde_json::from_str::<T>(&object.to_string()).is_ok()
}

fn verdict(reviewer: &Reviewer<'_>, object: &Value) -> Verdict {
    let seen = reviewer.see(Document {
        file: Arc::from("generated"),
        line: 1,
        object: object.clone(),
    });
    reviewer
        .verdicts(vec![seen])
        .pop()
        .expect("there is a verdict")
}

/// Of all objects the number that is admitted.
fn admitted<T: DeserializeOwned>(kind: &str) -> u64 {
    let policy = Policy::default();
    let reviewer = Reviewer::new(&policy, false);
    let schema = spec_schema(kind);
    let mut admitted = 0;
    for seed in 0..OBJECTS {
        let object = object(kind, &schema, &mut Random::new(seed));
        let verdict = verdict(&reviewer, &object);
        if verdict.is_denied() {
            let is_unreadable = verdict
                .decided
                .causes
                .iter()
                .any(|cause| cause.reason == "Unreadable");
            assert!(
                !(is_unreadable && can_be_read::<T>(&object)),
                "seed {seed} is refused and can be read: {object}"
            );
        } else {
            admitted += 1;
            assert!(
                !verdict
                    .warnings
                    .iter()
                    .any(|warning| warning.contains("cannot read")),
                "seed {seed} is admitted and cannot be read: {object}"
            );
        }
    }
    admitted
}

#[test]
fn every_agent_that_is_admitted_can_be_read() {
    let admitted = admitted::<Agent>("Agent");
    assert!(admitted >= FEWEST_ADMITTED, "only {admitted}");
}

#[test]
fn every_tool_that_is_admitted_can_be_read() {
    let admitted = admitted::<Tool>("Tool");
    assert!(admitted >= FEWEST_ADMITTED, "only {admitted}");
}
