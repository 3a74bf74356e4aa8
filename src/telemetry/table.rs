//! The table of metrics. The registry, `docs/monitoring.md` and the dashboard's test come from it.

use prometheus_client::{
    metrics::info::Info,
    registry::{self, Registry},
};

use super::{
    CheckKind,
    handles::{BuildLabels, Handles},
};
use crate::{
    admission::{DecisionKind, Reason, Webhook},
    images::{Component, Source, rows},
    rejections::REJECTION_EVENTS,
    watch::COUNTED_KINDS,
};

/// One metric of `/metrics`.
pub struct Metric {
    /// The name, without `agentkube_` before it and without the suffix of its kind.
    pub name: &'static str,
    /// The kind.
    pub kind: MetricKind,
    /// The labels, in the order of the documentation.
    pub labels: &'static [Label],
    /// The sentence that Prometheus shows: its subject, and no full stop.
    pub help: &'static str,
    /// More for the documentation: sentences, or nothing.
    pub more: &'static str,
    register: fn(&Metric, &mut Registry, &Handles),
}

/// The kinds of metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MetricKind {
    /// A value that only grows.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// A distribution of durations, in seconds.
    Histogram,
    /// A constant 1 whose labels are the information.
    Info,
}

/// One label of a metric.
pub struct Label {
    /// The name.
    pub name: &'static str,
    /// Every possible value; empty for an open set, such as versions.
    pub values: fn() -> Vec<&'static str>,
}

impl Metric {
    /// The full name, as in queries.
    #[must_use]
    pub fn full_name(&self) -> String {
        let suffix = match self.kind {
            MetricKind::Counter => "_total",
            MetricKind::Info => "_info",
            MetricKind::Gauge | MetricKind::Histogram => "",
        };
        format!("agentkube_{}{suffix}", self.name)
    }

    pub(super) fn register(&self, registry: &mut Registry, handles: &Handles) {
        (self.register)(self, registry, handles);
    }

    /// Registers the metric. The encoder appends the suffix of the kind.
    fn add(&self, registry: &mut Registry, metric: impl registry::Metric) {
        registry.register(self.name, self.help, metric);
    }
}

impl MetricKind {
    /// The name of the kind in Prometheus.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

const WEBHOOK: Label = Label {
    name: "webhook",
    values: || {
        Webhook::ALL
            .map(Webhook::as_str)
            .to_vec()
    },
};

/// The rows of the matrix, and Tools, which have none.
fn components() -> Vec<&'static str> {
    rows()
        .map(|row| row.component)
        .chain([Component::Tool])
        .map(Component::as_str)
        .collect()
}

/// Every metric, in the order of the documentation.
pub const METRICS: [Metric; 18] = [
    Metric {
        name: "build",
        kind: MetricKind::Info,
        labels: &[Label {
            name: "version",
            values: Vec::new,
        }],
        help: "The build that runs",
        more: "There is one for each replica that is up",
        register: |metric, registry, handles| {
            let version = handles.version;
            metric.add(registry, Info::new(BuildLabels { version }));
        },
    },
    Metric {
        name: "certificate_expiry_timestamp_seconds",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "When the serving certificate expires, in seconds since 1970, 0 while there is none",
        more: "",
        register: |metric, registry, handles| {
            metric.add(registry, handles.certificate_expiry.clone());
        },
    },
    Metric {
        name: "client_certificates_refused",
        kind: MetricKind::Counter,
        labels: &[],
        help: "Connections on the webhook port that were refused for the client's certificate",
        more: "Only with `--client-ca`",
        register: |metric, registry, handles| {
            let refused = &handles.connections.certificates_refused;
            metric.add(registry, refused.clone());
        },
    },
    Metric {
        name: "connections",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Open connections on the webhook port",
        more: "",
        register: |metric, registry, handles| {
            metric.add(registry, handles.connections.open.clone());
        },
    },
    Metric {
        name: "connections_evicted",
        kind: MetricKind::Counter,
        labels: &[],
        help: "Connections on the webhook port that were ended because others needed their place",
        more: "They were at the cap, and these were never answered",
        register: |metric, registry, handles| {
            metric.add(registry, handles.connections.evicted.clone());
        },
    },
    Metric {
        name: "image_decisions",
        kind: MetricKind::Counter,
        labels: &[
            Label {
                name: "component",
                values: components,
            },
            Label {
                name: "source",
                values: || {
                    Source::PRECEDENCE
                        .map(Source::as_str)
                        .to_vec()
                },
            },
        ],
        help: "Images chosen for containers, by row of the matrix and by the rule that chose",
        more: "",
        register: |metric, registry, handles| {
            metric.add(registry, handles.image_decisions.clone());
        },
    },
    Metric {
        name: "leader",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "1 if this replica leads, else 0",
        more: "",
        register: |metric, registry, handles| metric.add(registry, handles.leader.clone()),
    },
    Metric {
        name: "problems",
        kind: MetricKind::Gauge,
        labels: &[Label {
            name: "check",
            values: || {
                CheckKind::ALL
                    .map(CheckKind::as_str)
                    .to_vec()
            },
        }],
        help: "What is wrong around this replica, by the check that sees it: 0 where nothing is",
        more: "The log says each once, and `agentkube manager --check` all of it",
        register: |metric, registry, handles| metric.add(registry, handles.problems.0.clone()),
    },
    Metric {
        name: "rejections",
        kind: MetricKind::Counter,
        labels: &[Label {
            name: "event",
            values: || REJECTION_EVENTS.to_vec(),
        }],
        help: "Rejections written, evicted and expired, and denials folded into one or dropped, by event",
        more: "An evicted one was deleted because there were too many, an expired one for its age",
        register: |metric, registry, handles| {
            metric.add(registry, handles.rejections.events.clone());
        },
    },
    Metric {
        name: "rejections_pending",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Rejections that wait to be written",
        more: "",
        register: |metric, registry, handles| {
            metric.add(registry, handles.rejections.pending.clone());
        },
    },
    Metric {
        name: "rejections_writable",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "1 while the API server takes Rejections, else 0",
        more: "",
        register: |metric, registry, handles| {
            metric.add(registry, handles.rejections.writable.clone());
        },
    },
    Metric {
        name: "review_duration_seconds",
        kind: MetricKind::Histogram,
        labels: &[WEBHOOK],
        help: "Time from a whole body to its answer",
        more: "",
        register: |metric, registry, handles| {
            metric.add(registry, handles.review_durations.family.clone());
        },
    },
    Metric {
        name: "reviews",
        kind: MetricKind::Counter,
        labels: &[
            WEBHOOK,
            Label {
                name: "kind",
                values: || vec!["Agent", "Tool", "Pod", "none", "other"],
            },
            Label {
                name: "operation",
                values: || vec!["CREATE", "UPDATE", "other"],
            },
            Label {
                name: "decision",
                values: || {
                    DecisionKind::ALL
                        .map(DecisionKind::as_str)
                        .to_vec()
                },
            },
            Label {
                name: "reason",
                values: || {
                    Reason::ALL
                        .iter()
                        .map(|reason| reason.as_str())
                        .collect()
                },
            },
        ],
        help: "Reviews answered",
        more: "The reason is that of the first problem, and empty where there is none. The kind is `none` where nothing is judged, and `other` where a review cannot be read. A `conflict` is a pod that was built from a state of its Agent or Tool that is no longer there, and is built anew",
        register: |metric, registry, handles| metric.add(registry, handles.reviews.clone()),
    },
    Metric {
        name: "reviews_in_flight",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Reviews being answered",
        more: "",
        register: |metric, registry, handles| {
            metric.add(registry, handles.reviews_in_flight.clone());
        },
    },
    Metric {
        name: "reviews_shed",
        kind: MetricKind::Counter,
        labels: &[],
        help: "Reviews refused because too many were in flight",
        more: "They were answered with 503 because 256 were in flight, or too much memory was held by large bodies",
        register: |metric, registry, handles| metric.add(registry, handles.reviews_shed.clone()),
    },
    Metric {
        name: "reviews_undecided",
        kind: MetricKind::Counter,
        labels: &[],
        help: "Reviews answered with 503 because what they depend on could not be read in time",
        more: "That is the Agent or Tool of a pod, or the rights of an author",
        register: |metric, registry, handles| {
            metric.add(registry, handles.reviews_undecided.clone());
        },
    },
    Metric {
        name: "tls_handshake_errors",
        kind: MetricKind::Counter,
        labels: &[],
        help: "Connections on the webhook port that ended before a session stood",
        more: "",
        register: |metric, registry, handles| {
            metric.add(
                registry,
                handles
                    .connections
                    .handshake_errors
                    .clone(),
            );
        },
    },
    Metric {
        name: "unreadable_objects",
        kind: MetricKind::Gauge,
        labels: &[Label {
            name: "kind",
            values: || COUNTED_KINDS.to_vec(),
        }],
        help: "Objects that this version cannot read, and that are left out until they are mended",
        more: "Those of a newer release after a rollback are such objects. A log line names each, and so does a condition of the Agent or Tool: `Accepted`, or `Ready` where it is the pod. Agents, Tools and the Lease are counted by every replica, the others by the one that leads. The registrations and the Secret are looked at by `agentkube_problems`",
        register: |metric, registry, handles| {
            metric.add(registry, handles.unreadable.family());
        },
    },
];
