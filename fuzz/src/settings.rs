//! The manager's environment: refused with reasons, or of a kind that every image follows.

use std::collections::BTreeMap;

use agentkube::{
    admission::{Placeholder, Policy},
    images::{
        DEFAULT_REGISTRY, ImageReference, SettingProblem, Source, resolve, rewrite_default, rows,
    },
};

use crate::credentials;

/// Reads lines of the form `NAME=VALUE` as an environment.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let variables: BTreeMap<&str, &str> = text
        .split('\n')
        .filter_map(|line| line.split_once('='))
        .collect();
    let pairs = || {
        variables
            .iter()
            .map(|(name, value)| (*name, *value))
    };
    let read = Policy::parse(pairs());
    let backwards = Policy::parse(pairs().rev());
    match (read, backwards) {
        (Ok(policy), Ok(_)) => every_image_follows(&policy),
        (Err(problems), Err(same)) => {
            assert_eq!(problems, same);
            problems_are_told(&problems, &variables);
        }
        (read, _) => panic!("read in the other order it is another answer: {read:?}"),
    }
}

fn every_image_follows(policy: &Policy) {
    for row in rows() {
        let Some(resolution) = resolve(row.component, None, &policy.images) else {
            assert_eq!(row.repository, None);
            continue;
        };
        let image = &resolution.image;
        let reference: ImageReference = image
            .as_str()
            .parse()
            .expect("an image that can be pulled");
        assert_eq!(reference, *image);
        assert_eq!(
            Placeholder::parse(image.as_str()),
            None,
            "{image} would be replaced"
        );
        let mirror = policy.images.mirror();
        match resolution.source {
            Source::Override => {
                assert_eq!(
                    policy
                        .images
                        .override_for(row.component),
                    Some(image)
                );
            }
            Source::Mirror => {
                let mirror = mirror.expect("a mirror");
                assert!(mirror.prefix.covers(&reference), "{image}");
            }
            Source::Default => assert!(mirror.is_none(), "{image} is public"),
            Source::Resource => panic!("{image} is nobody's own"),
        }
        assert_eq!(
            resolution.variable.is_none(),
            resolution.source == Source::Default
        );
        if resolution.variable.is_some() {
            assert!(
                policy
                    .allowed_registries
                    .allow(&reference),
                "{image}"
            );
        }
        if let Some(repository) = row.repository {
            rewriting_ends(&format!("{DEFAULT_REGISTRY}/{repository}:v1"), policy);
        }
    }
    for (index, name) in policy.pull_secrets.iter().enumerate() {
        assert_eq!(name.trim(), name);
        assert!(!name.is_empty());
        assert!(
            policy
                .pull_secrets
                .iter()
                .skip(index + 1)
                .all(|later| later != name)
        );
    }
}

/// What was rewritten once is not rewritten to something else.
fn rewriting_ends(image: &str, policy: &Policy) {
    let Some(once) = rewrite_default(image, &policy.images) else {
        return;
    };
    if let Some(twice) = rewrite_default(once.image.as_str(), &policy.images) {
        assert_eq!(twice.image, once.image, "from {image}");
    }
}

fn problems_are_told(problems: &[SettingProblem], variables: &BTreeMap<&str, &str>) {
    assert!(!problems.is_empty());
    let told: Vec<_> = problems
        .iter()
        .map(ToString::to_string)
        .collect();
    for problem in problems {
        assert!(
            variables.contains_key(problem.variable.as_str()),
            "{problem}"
        );
        assert!(!problem.message.is_empty());
    }
    for value in variables.values() {
        // Names are repeated, whatever they look like.
        let is_in_name = variables
            .keys()
            .any(|name| name.contains(value));
        if !is_in_name {
            for text in &told {
                credentials::is_kept(value, text);
            }
        }
    }
}
