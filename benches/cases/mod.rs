//! What is measured: decisions by the calls that the webhooks make, from the bytes of a review to
//! the bytes of its answer, and the grammar of references alone.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that meets the unexpected has nothing to measure"
)]

mod reviews;

use std::hint::black_box;

use agentkube::{
    admission::{AgentFacts, AuthorRights, Owners, Policy, Review, Webhook, answer, decide},
    images::ImageReference,
};

const MIRROR: &str = "registry.example.com/mirror";

const REFERENCE: &str = "registry.example.com:5000/mirror/adaptivelive/claudecode:v0.3.0";

/// Something to do, again and again.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn Fn()>,
}

/// All of them, each done once already: what is made at its first use is there.
pub(crate) fn all() -> [Case; 4] {
    let agent = reviews::agent();
    let mut elsewhere = agent.clone();
    elsewhere.spec.image = Some("registry.example.org/team/claudecode:v0.3.0".to_owned());
    [
        decision(
            "decide-agent",
            &[Webhook::Mutate, Webhook::Validate],
            reviews::of_agent(&agent),
            None,
            r#""allowed":true"#,
        ),
        decision(
            "patch-pod",
            &[Webhook::Mutate],
            reviews::of_pod(&agent),
            Some(AgentFacts::from(&agent)),
            r#""patchType":"JSONPatch""#,
        ),
        decision(
            "deny-agent",
            &[Webhook::Mutate],
            reviews::of_agent(&elsewhere),
            None,
            r#""reason":"RegistryNotAllowed""#,
        ),
        Case {
            name: "parse-reference",
            run: Box::new(|| {
                let reference = black_box(REFERENCE).parse::<ImageReference>();
                black_box(reference).expect("a reference");
            }),
        },
    ]
}

/// Answers this review as each of these webhooks, to somebody who may use all that it names.
fn decision(
    name: &'static str,
    webhooks: &'static [Webhook],
    review: Vec<u8>,
    agent: Option<AgentFacts>,
    expected: &str,
) -> Case {
    let policy = Policy::parse([
        ("AGENTKUBE_IMAGE_REGISTRY", MIRROR),
        ("AGENTKUBE_ALLOWED_REGISTRIES", MIRROR),
    ])
    .expect("legal settings");
    let run = move |webhook| {
        let review = Review::parse(black_box(&review)).expect("a review");
        let owners = Owners {
            agent: agent.as_ref(),
            tool: None,
        };
        let references = review.references();
        let authority = AuthorRights::Holds(&references);
        let decision = decide(webhook, &review, owners, authority, &policy);
        answer(review.uid(), &decision)
    };
    for webhook in webhooks {
        let answer = String::from_utf8(run(*webhook)).expect("JSON");
        assert!(answer.contains(expected), "{name}: {answer}");
    }
    Case {
        name,
        run: Box::new(move || {
            for webhook in webhooks {
                black_box(run(*webhook));
            }
        }),
    }
}
