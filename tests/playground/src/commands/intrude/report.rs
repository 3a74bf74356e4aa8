//! What came of a run.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{
    history::History,
    judge::{Finding, Wrong},
    shorten::{Step, shorten},
};

/// How many violations of a kind are shown. The shortest are kept.
const SHOWN: usize = 5;

/// What came of a run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// Requests that people sent.
    pub(super) actions: usize,
    /// Namespaces that they acted in.
    pub(super) episodes: usize,
    /// Pods that were stored, for however short.
    pub(super) pods: usize,
    /// How often each fault happened.
    pub(super) faults: BTreeMap<&'static str, u64>,
    /// How many violations there were of each kind.
    pub(super) found: BTreeMap<Wrong, usize>,
    /// The shortest of each kind.
    pub(super) violations: Vec<Violation>,
    /// Brings the same moves.
    pub(super) seed: u64,
}

/// A pod that has, or does, what was permitted to nobody.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Violation {
    pub(super) wrong: Wrong,
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) because: String,
    /// The requests that show it, in their order.
    pub(super) history: Vec<Step>,
}

impl Report {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            actions: 0,
            episodes: 0,
            pods: 0,
            faults: BTreeMap::new(),
            found: BTreeMap::new(),
            violations: Vec::new(),
            seed,
        }
    }

    pub(super) fn is_good(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn note(&mut self, violation: Violation) {
        let wrong = violation.wrong;
        *self.found.entry(wrong).or_default() += 1;
        self.violations.push(violation);
        self.violations
            .sort_by_key(|violation| (violation.wrong, violation.history.len()));
        let mut shown = 0;
        self.violations.retain(|other| {
            shown += usize::from(other.wrong == wrong);
            other.wrong != wrong || shown <= SHOWN
        });
    }

    pub(super) fn summary(&self) -> String {
        let Self {
            actions,
            episodes,
            pods,
            found,
            ..
        } = self;
        let violations: usize = found.values().sum();
        format!("{actions} actions, {episodes} episodes, {pods} pods, {violations} violations")
    }
}

impl Violation {
    pub(super) fn new(namespace: &str, history: &History, finding: &Finding) -> Self {
        Self {
            wrong: finding.wrong,
            namespace: namespace.to_owned(),
            pod: history
                .pods
                .get(&finding.pod)
                .map(|pod| pod.name.clone())
                .unwrap_or_default(),
            because: finding.because.clone(),
            history: shorten(history, finding),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            wrong,
            namespace,
            pod,
            because,
            history,
        } = self;
        writeln!(formatter, "{wrong:?}: the pod {namespace}/{pod}: {because}")?;
        for Step {
            at,
            user,
            request,
            changes,
            code,
        } in history
        {
            writeln!(formatter, "  {at:>6} ms  {user}  {request}  {code}")?;
            for change in changes {
                writeln!(formatter, "               {change}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for violation in &self.violations {
            writeln!(formatter, "{violation}")?;
        }
        writeln!(formatter, "{}", self.summary())?;
        for (wrong, count) in &self.found {
            writeln!(formatter, "  {count:>4} x {wrong:?}")?;
        }
        for (fault, count) in &self.faults {
            writeln!(formatter, "  {count:>4} x {fault}")?;
        }
        writeln!(formatter, "seed {}", self.seed)
    }
}
