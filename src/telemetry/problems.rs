//! The metric of problems around a replica: the number of sources that see one now, by check.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
};

/// The subjects of checks. Their names are printed by `--check` and used in a metric's label.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CheckKind {
    /// The version of the API server.
    ApiServer,
    /// The ownership of caBundle.
    CaBundle,
    /// The certificate to serve.
    Certificate,
    /// Our own resources.
    Crds,
    /// Other installations in the cluster.
    Installations,
    /// The rights that the manager needs.
    Permissions,
    /// The admission policies of the API server.
    Policies,
    /// The webhook registrations.
    Registrations,
    /// The Secret of the certificate.
    Secret,
    /// The settings of the manager, only checked before the start.
    Settings,
}

impl CheckKind {
    /// All that a running manager checks.
    pub const ALL: [Self; 9] = [
        Self::ApiServer,
        Self::Crds,
        Self::Permissions,
        Self::Secret,
        Self::Certificate,
        Self::Registrations,
        Self::CaBundle,
        Self::Policies,
        Self::Installations,
    ];

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApiServer => "api-server",
            Self::CaBundle => "ca-bundle",
            Self::Certificate => "certificate",
            Self::Crds => "crds",
            Self::Installations => "installations",
            Self::Permissions => "permissions",
            Self::Policies => "policies",
            Self::Registrations => "registrations",
            Self::Secret => "secret",
            Self::Settings => "settings",
        }
    }
}

/// One source of a problem. The gauge counts the sources that currently see it.
#[derive(Debug, Default)]
pub struct Problem {
    gauge: Gauge,
    is_there: bool,
}

impl Problem {
    /// Records if the source sees it.
    pub fn set(&mut self, is_there: bool) {
        match (self.is_there, is_there) {
            (false, true) => self.gauge.inc(),
            (true, false) => self.gauge.dec(),
            _ => return,
        };
        self.is_there = is_there;
    }
}

/// One gauge per check. Clones share the state.
#[derive(Clone, Debug)]
pub(super) struct Problems(pub(super) Family<ProblemLabels, Gauge>);

/// The labels of `agentkube_problems`.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct ProblemLabels {
    check: &'static str,
}

impl Problems {
    pub(super) fn one(&self, check: CheckKind) -> Problem {
        let labels = ProblemLabels {
            check: check.as_str(),
        };
        Problem {
            gauge: self.0.get_or_create_owned(&labels),
            is_there: false,
        }
    }
}

impl Default for Problems {
    fn default() -> Self {
        let problems = Self(Family::default());
        for check in CheckKind::ALL {
            // Created from the start, so that a missing series can be told from one at 0.
            let _ = problems.one(check);
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_see_a_problem_are_counted_once_each() {
        let problems = Problems::default();
        let [mut one, mut other] = [0, 1].map(|_| problems.one(CheckKind::CaBundle));
        for is_there in [true, true] {
            one.set(is_there);
            other.set(is_there);
        }
        assert_eq!(one.gauge.get(), 2);
        one.set(false);
        one.set(false);
        assert_eq!(other.gauge.get(), 1);
    }
}
