use std::{cmp::Reverse, collections::BTreeMap};

use kube::ResourceExt;

use crate::api::Rejection;

/// The numbers of denials by reason, namespace and user; the most frequent first.
#[derive(Debug)]
pub(crate) struct RejectionSummary {
    pub(crate) reasons: Vec<Denials>,
    pub(crate) namespaces: Vec<Denials>,
    pub(crate) users: Vec<Denials>,
}

/// The number of denials for one reason, in one namespace or of one user.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Denials {
    pub(crate) name: String,
    pub(crate) count: u64,
}

impl RejectionSummary {
    pub(crate) fn of(rejections: &[Rejection]) -> Self {
        Self {
            reasons: count(rejections, |rejection| rejection.spec.reason.clone()),
            namespaces: count(rejections, |rejection| {
                rejection
                    .namespace()
                    .unwrap_or_default()
            }),
            users: count(rejections, |rejection| rejection.spec.user.clone()),
        }
    }
}

fn count(rejections: &[Rejection], name: impl Fn(&Rejection) -> String) -> Vec<Denials> {
    let mut counts = BTreeMap::<String, u64>::new();
    for rejection in rejections {
        *counts
            .entry(name(rejection))
            .or_default() += u64::try_from(rejection.spec.count).unwrap_or_default();
    }
    let mut counts: Vec<_> = counts
        .into_iter()
        .map(|(name, count)| Denials { name, count })
        .collect();
    counts.sort_by_key(|denials| Reverse(denials.count));
    counts
}
