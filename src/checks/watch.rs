use std::{collections::BTreeMap, time::Duration};

use kube::Client;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{CheckFinding, Installation, look};
use crate::{
    server::Shutdown,
    telemetry::{CheckKind, Metrics, Problem},
};

/// When it is first looked: what a replica answers with comes first
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// Looks for everything again and again until the shutdown has finished: says once what is new, and
/// keeps the metric
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
    /// What is wrong by each check, as it was said
    said: BTreeMap<&'static str, Vec<String>>,
}

impl Watch {
    fn tell(&mut self, findings: &[CheckFinding]) {
        for (name, problem) in &mut self.problems {
            let is_of = |finding: &&CheckFinding| finding.check.as_str() == *name;
            // What could not be looked at is as it was.
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
                // Who keeps caBundle knows better whether a rival is given way to by now.
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
                tracing::info!(check = name, "what was wrong is in order again");
            }
            *said = wrong
                .iter()
                .filter(|finding| !finding.is_told)
                .map(|finding| finding.text.clone())
                .collect();
        }
    }
}
