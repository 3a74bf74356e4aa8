use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};

use crate::admission::{Author, AuthorRight, Reference};

/// A question to the API server: may a user do this?
#[derive(Clone, Debug)]
pub(super) struct Question(SubjectAccessReviewSpec);

/// The identity of a question, of fixed size however many groups the user is in.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key([u8; 32]);

impl Question {
    /// The question about the right to create pods, and so to use everything in the namespace.
    pub(super) fn pods(author: &Author, namespace: &str) -> Self {
        Self::about(author, namespace, AuthorRight::TO_EVERYTHING, None)
    }

    /// The questions about the referenced object. A yes to any one of them is enough.
    pub(super) fn of(author: &Author, namespace: &str, reference: &Reference<'_>) -> Vec<Self> {
        if reference.most.is_some() {
            return Vec::new();
        }
        reference
            .kind
            .rights()
            .iter()
            .map(|right| Self::about(author, namespace, *right, Some(reference.name)))
            .collect()
    }

    /// The key of its answer in the cache.
    pub(super) fn key(&self) -> Key {
        // Strings, lists and sorted maps always serialize, and always to the same text.
        let text = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut key = Key([0; 32]);
        for (to, from) in key
            .0
            .iter_mut()
            .zip(digest(&SHA256, &text).as_ref())
        {
            *to = *from;
        }
        key
    }

    /// The object to send to the API server.
    pub(super) fn review(&self) -> SubjectAccessReview {
        SubjectAccessReview {
            spec: self.0.clone(),
            ..SubjectAccessReview::default()
        }
    }

    fn about(author: &Author, namespace: &str, right: AuthorRight, name: Option<&str>) -> Self {
        let AuthorRight {
            verb,
            resource,
            subresource,
        } = right;
        let Author {
            username,
            uid,
            groups,
            extra,
        } = author;
        Self(SubjectAccessReviewSpec {
            user: Some(username.clone()),
            uid: Some(uid.clone()).filter(|uid| !uid.is_empty()),
            groups: Some(groups.clone()).filter(|groups| !groups.is_empty()),
            extra: Some(extra.clone()).filter(|extra: &BTreeMap<_, _>| !extra.is_empty()),
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.to_owned()),
                verb: Some(verb.to_owned()),
                resource: Some(resource.to_owned()),
                subresource: subresource.map(str::to_owned),
                name: name.map(str::to_owned),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_told_by_all_that_an_authorizer_may_look_at() {
        let ada = Author {
            username: "ada".to_owned(),
            groups: vec!["devs".to_owned()],
            ..Author::default()
        };
        let key = Question::pods(&ada, "team").key();
        assert_eq!(key, Question::pods(&ada.clone(), "team").key());
        let others = [
            (
                Author {
                    username: "bob".to_owned(),
                    ..ada.clone()
                },
                "team",
            ),
            (
                Author {
                    uid: "7".to_owned(),
                    ..ada.clone()
                },
                "team",
            ),
            (
                Author {
                    groups: vec!["devs".to_owned(), "ops".to_owned()],
                    ..ada.clone()
                },
                "team",
            ),
            (
                Author {
                    extra: BTreeMap::from([("scopes".to_owned(), vec!["all".to_owned()])]),
                    ..ada.clone()
                },
                "team",
            ),
            (ada.clone(), "other"),
        ];
        for (author, namespace) in others {
            assert_ne!(
                key,
                Question::pods(&author, namespace).key(),
                "{author:?} in {namespace}"
            );
        }
    }
}
