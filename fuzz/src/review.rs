//! The body of a review in, the bytes of an answer out.

use agentkube::admission::{
    AdmissionPhase, AuthorRights, Decision, Reason, Review, Unreadable, Webhook, answer, decide,
};
use serde_json::{Value, json};

use crate::{
    credentials,
    world::{MIRRORED, STRICT, World},
};

/// Answers the body as each webhook does, in each world.
pub fn check(data: &[u8]) {
    for world in [&*MIRRORED, &*STRICT] {
        for webhook in Webhook::ALL {
            answer_one(webhook, data, world);
        }
    }
}

fn answer_one(webhook: Webhook, body: &[u8], world: &World) {
    let (uid, decision) = match Review::parse(body) {
        Ok(review) => {
            let found = world.found(webhook, &review);
            let decision = decide(
                webhook,
                &review,
                found.owners(),
                AuthorRights::Unasked,
                &world.policy,
            );
            (review.uid().to_owned(), decision)
        }
        Err(Unreadable::Body(message)) => {
            assert!(!message.is_empty());
            return;
        }
        Err(Unreadable::Request(request)) => {
            let uid = request.uid.clone();
            (uid, Decision::deny(request.denial))
        }
    };
    let bytes = answer(&uid, &decision);
    let answer: Value = serde_json::from_slice(&bytes).expect("the answer is JSON");
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    let response = &answer["response"];
    assert_eq!(response["uid"], uid);
    is_whole(webhook, response);
    keeps_credentials(body, response);
}

/// What an API server takes: a patch with its type, a denial with its status.
fn is_whole(webhook: Webhook, response: &Value) {
    let patch = response.get("patch");
    assert_eq!(patch.is_some(), response.get("patchType").is_some());
    assert!(
        patch.is_none() || webhook.phase() == AdmissionPhase::Mutating,
        "{response}"
    );
    let status = &response["status"];
    if response["allowed"] == true {
        assert!(status.is_null(), "{response}");
        return;
    }
    assert_eq!(response["allowed"], false);
    assert!(patch.is_none(), "{response}");
    let code = status["code"].as_u64();
    let reason = status["reason"].as_str();
    assert!(
        matches!(
            (code, reason),
            (Some(422), Some("Invalid")) | (Some(403), Some("Forbidden"))
        ),
        "{response}"
    );
    assert!(is_text(&status["message"]), "{response}");
    let causes = status["details"]["causes"]
        .as_array()
        .expect("causes");
    assert!(!causes.is_empty());
    for cause in causes {
        let reason = cause["reason"]
            .as_str()
            .unwrap_or_default();
        assert!(
            Reason::ALL
                .iter()
                .any(|known| known.as_str() == reason),
            "{cause}"
        );
        assert!(
            is_text(&cause["message"]) && is_text(&cause["field"]),
            "{cause}"
        );
    }
}

fn is_text(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| !text.is_empty())
}

/// Of the spec nothing that looks like a credential is repeated in what people read.
fn keeps_credentials(body: &[u8], response: &Value) {
    let Ok(review) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    // The subject, and what a registration asks for, are repeated as the API server names them.
    let causes: Vec<&Value> = response["status"]["details"]["causes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|cause| cause["field"] != "request.resource")
        .collect();
    let told = format!("{}{}", json!(causes), response["warnings"]);
    credentials::are_kept(&review["request"]["object"]["spec"], &told);
}
