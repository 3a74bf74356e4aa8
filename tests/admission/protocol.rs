//! The review protocol itself: what is no review, and what is none of ours.

use agentkube::admission::{
    Decision, Review, Unreadable, UnreadableRequest, Webhook, answer, unavailable,
};
use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};

use crate::support::{World, agent, creation, review};

fn unreadable(body: &str) -> String {
    match Review::parse(body.as_bytes()) {
        Err(Unreadable::Body(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_body_that_is_no_review_is_told_what_was_expected() {
    assert_snapshot!(unreadable(""), @"the body is not an AdmissionReview: it ends too early at line 1 column 0");
    assert_snapshot!(unreadable("<html>"), @"the body is not an AdmissionReview: it is not JSON at line 1 column 1");
    assert_snapshot!(unreadable("[]"));
    assert_snapshot!(unreadable(r#"{"kind": "Pod", "apiVersion": "v1"}"#));
    assert_snapshot!(unreadable(
        r#"{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1beta1", "request": null}"#
    ));
    assert_snapshot!(unreadable(
        r#"{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}"#
    ));
}

#[test]
fn what_is_wrong_with_a_body_never_repeats_the_body() {
    let message = unreadable(
        r#"{"kind": "AdmissionReview", "apiVersion": 5, "request": "sk-example-0123456789abcdef"}"#,
    );
    assert!(!message.contains("sk-example"), "{message}");
}

fn denial(review: &Value) -> Value {
    match Review::parse(review.to_string().as_bytes()) {
        Err(Unreadable::Request(request)) => {
            let UnreadableRequest { uid, denial, .. } = *request;
            if let Some(creation) = creation(&review["request"]) {
                assert_eq!(Review::of(creation).expect_err("a denial"), denial);
            }
            let decision = Decision::deny(denial);
            serde_json::from_slice(&answer(&uid, &decision)).expect("JSON")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_kind_that_is_not_served_is_refused_with_the_remedy() {
    let mut request = review(
        "pods",
        "CREATE",
        &json!({"metadata": {"name": "web"}}),
        None,
    );
    request["request"]["resource"] =
        json!({"group": "apps", "version": "v1", "resource": "deployments"});
    request["request"]["kind"] = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
    assert_json_snapshot!(denial(&request));
}

#[test]
fn an_object_that_is_missing_or_of_the_wrong_shape_is_refused() {
    let mut request = review("agents", "CREATE", &agent(&json!({})), None);
    request["request"]["object"] = Value::Null;
    assert_snapshot!(
        denial(&request)["response"]["status"]["message"]
            .as_str()
            .expect("a message")
    );
    request["request"]["object"] = json!({"metadata": {}, "spec": 5});
    assert_snapshot!(
        denial(&request)["response"]["status"]["message"]
            .as_str()
            .expect("a message")
    );
}

#[test]
fn a_deletion_is_never_refused() {
    let mut request = review("pods", "DELETE", &json!({}), None);
    request["request"]["resource"]["resource"] = json!("anything");
    let response = World::default().ask(Webhook::Validate, &request);
    assert_eq!(response["allowed"], json!(true));
}

#[test]
fn what_cannot_be_decided_now_may_be_tried_again() {
    let answer: Value = serde_json::from_slice(&unavailable("u", "try again")).expect("JSON");
    assert_json_snapshot!(answer);
}
