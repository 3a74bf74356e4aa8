use std::{collections::BTreeMap, time::Duration};

use kube::Client;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{CheckFinding, Installation, look};
use crate::{
    server::Shutdown,
    telemetry::{CheckKind, Metrics, Problem},
};

/// Delay of the first run, so that a starting replica serves first.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// Runs every check at an interval until the shutdown has finished. Logs each new problem once, and
/// updates the metric.
pub(crate) async fn watch(
    client: Client,
    subject: Installation,
    every: Duration,
    metrics: Metrics,
    shutdown: Shutdown,
) {
    let mut watch = Watch {
        problems: CheckKind::ALL
            .map(|check| (check.as_str(), metrics.problem(check)))
            .into(),
        said: BTreeMap::new(),
    };
    let mut ticks = interval_at(Instant::now() + FIRST_LOOK.min(every), every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let forever = async {
        loop {
            ticks.tick().await;
            let findings = look(&client, &subject).await;
            watch.tell(&findings);
        }
    };
    tokio::select! {
        () = forever => {}
        () = shutdown.finished() => {}
    }
}

struct Watch {
    problems: BTreeMap<&'static str, Problem>,
    /// The logged problems of each check.
    said: BTreeMap<&'static str, Vec<String>>,
}

impl Watch {
    fn tell(&mut self, findings: &[CheckFinding]) {
        for (name, problem) in &mut self.problems {
            let is_of = |finding: &&CheckFinding| finding.check.as_str() == *name;
            // A check that could not run keeps its last state.
            if !findings
                .iter()
                .any(|finding| is_of(&finding))
            {
                continue;
            }
            let wrong: Vec<_> = findings
                .iter()
                .filter(is_of)
                .filter(|finding| finding.is_problem())
                // The keeper of caBundle itself reports whether it has given way to a rival.
                .filter(|finding| !(finding.is_told && finding.check == CheckKind::CaBundle))
                .collect();
            problem.set(!wrong.is_empty());
            let said = self.said.entry(name).or_default();
            for finding in &wrong {
                if !finding.is_told && !said.contains(&finding.text) {
                    tracing::warn!(check = name, "{}", finding.text);
                }
            }
            if wrong.is_empty() && !said.is_empty() {
                tracing::info!(check = name, "the problem is solved");
            }
            *said = wrong
                .iter()
                .filter(|finding| !finding.is_told)
                .map(|finding| finding.text.clone())
                .collect();
        }
    }
}
