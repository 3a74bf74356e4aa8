//! What is wrong around a replica, as a metric: how many see it now, by what they look at.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

/// What is looked for; the names are those of lines on the terminal and of a metric's label
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Check {
    /// The version of the API server
    ApiServer,
    /// Whether caBundle is ours to keep
    CaBundle,
    /// The certificate that is or would be served
    Certificate,
    /// Our own resources
    Crds,
    /// Whether there is a second installation
    Installations,
    /// What the manager has to be permitted
    Permissions,
    /// Whether the API server asks about references by itself
    Policies,
    /// Whether the registrations are there and point at us
    Registrations,
    /// The Secret of the certificate
    Secret,
    /// What the manager was started with: looked at before the start alone
    Settings,
}

impl Check {
    /// All that a running manager looks for
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

    /// The name
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

/// One who looks for a problem; the gauge counts those who see it now. The default is registered
/// nowhere.
#[derive(Debug, Default)]
pub struct Problem {
    gauge: Gauge,
    is_there: bool,
}

impl Problem {
    /// Says whether it is there
    pub fn set(&mut self, is_there: bool) {
        match (self.is_there, is_there) {
            (false, true) => self.gauge.inc(),
            (true, false) => self.gauge.dec(),
            _ => return,
        };
        self.is_there = is_there;
    }
}

/// One gauge for each check; clones count the same
#[derive(Clone, Debug, Default)]
pub(super) struct Problems(Family<ProblemLabels, Gauge>);

impl Problems {
    pub(super) fn register(&self, registry: &mut Registry) {
        for check in Check::ALL {
            // A series that is there from the start can be told from one that is missing.
            let _ = self.one(check);
        }
        registry.register(
            "problems",
            "What is wrong around this replica, by the check that sees it: 0 where nothing is",
            self.0.clone(),
        );
    }

    pub(super) fn one(&self, check: Check) -> Problem {
        let labels = ProblemLabels {
            check: check.as_str(),
        };
        Problem {
            gauge: self.0.get_or_create_owned(&labels),
            is_there: false,
        }
    }
}

/// What is told apart among problems
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ProblemLabels {
    check: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_see_a_problem_are_counted_once_each() {
        let problems = Problems::default();
        let [mut one, mut other] = [0, 1].map(|_| problems.one(Check::CaBundle));
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
