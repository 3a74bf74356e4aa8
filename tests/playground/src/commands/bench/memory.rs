//! What a replica holds: at its start, and with many Agents, as the leader and beside it.

use agentkube_playground::{Manager, ManagerOptions, until};

use super::{
    Bench,
    load::{Ask, Target},
    process::resident_kib,
    reviews::mutate,
    stage::{LIMIT, Stage, until_idle},
    statistics::float,
};

const NAMESPACE: &str = "bench-memory";

/// Where the one Agent is whose pod is asked about, however many others there are.
const ASKED: &str = "bench-memory-asked";

/// Connections that stay open and ask nothing more; a few less than a replica takes.
const IDLE_CONNECTIONS: usize = 500;

/// How many Agents there are, as far as that is asked for.
const COUNTS: [usize; 4] = [0, 1_000, 10_000, 50_000];

/// Each start reads everything anew, and the figures hardly differ.
const ROUNDS: usize = 3;

pub(super) fn steps(agents: usize) -> usize {
    counts(agents).len() * (ROUNDS + 1)
}

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let mut stage = Stage::with_manager(&bench.binary).await?;
    stage.namespace(NAMESPACE).await?;
    let asked = stage.namespace_of_one(ASKED).await?;
    let ask = mutate(&asked, 0)?;
    let mut there = 0;
    let mut at_start = (0.0, 0.0);
    for count in counts(bench.agents.memory) {
        bench.step(&format!("memory: putting {count} Agents there"));
        if stage.manager.is_none() {
            stage.start_answering_manager().await?;
        }
        // Paused: nobody creates their pods. The leader writes each one's status meanwhile.
        stage
            .put_agents(NAMESPACE, there..count, true)
            .await?;
        there = count;
        until_idle(stage.manager()?.id()).await?;
        let grown = resident_kib(stage.manager()?.id())?;

        let (mut leader, mut admitting) = (Vec::new(), Vec::new());
        let (mut answers, mut idle) = (Vec::new(), Vec::new());
        let (mut rest, mut resync) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bench.step(&format!("memory: replicas with {count} Agents"));
            let round = replicas(bench, &mut stage, &ask).await?;
            leader.push(round.leader);
            admitting.push(round.admitting);
            answers.push(round.answer);
            idle.push(round.idle_connection);
            rest.push(round.slow_answer);
            resync.push(round.slow_answer_in_resync);
        }
        let mib = |figures: &[f64]| -> Vec<f64> {
            figures
                .iter()
                .map(|figure| figure / (1024.0 * 1024.0))
                .collect()
        };
        if count == 0 {
            bench
                .figures
                .note("memory.startMiB", mib(&admitting));
            at_start = (median(&leader), median(&admitting));
        } else {
            let each = |figures: &[f64], start: f64| -> Vec<f64> {
                figures
                    .iter()
                    .map(|figure| (figure - start) / float(count))
                    .collect()
            };
            bench.figures.note(
                &format!("memory.bytesPerAgent.admitting.{count}"),
                each(&admitting, at_start.1),
            );
            bench.figures.note(
                &format!("memory.bytesPerAgent.leader.{count}"),
                each(&leader, at_start.0),
            );
            bench.figures.note(
                &format!("memory.leaderGrownMiB.{count}"),
                mib(&[bytes(grown)]),
            );
        }
        let ratios = resync
            .iter()
            .zip(&rest)
            .map(|(resync, rest)| resync / rest);
        bench
            .figures
            .note(&format!("memory.resyncP99VsRest.{count}"), ratios);
        for (name, figures) in [
            ("answerP50Ms", answers),
            ("answerP99Ms", rest),
            ("resyncP99Ms", resync),
        ] {
            bench
                .figures
                .note(&format!("memory.{name}.{count}"), figures);
        }
        bench
            .figures
            .note(&format!("memory.bytesPerIdleConnection.{count}"), idle);
        bench
            .figures
            .note(&format!("memory.admittingMiB.{count}"), mib(&admitting));
        bench
            .figures
            .note(&format!("memory.leaderMiB.{count}"), mib(&leader));
    }
    Ok(())
}

/// A leader and a replica beside it, both fresh: their memory and what a connection takes, in bytes, and answers of the
/// second in milliseconds: the median, and the 99th percentile before and while it becomes the leader.
struct Replicas {
    leader: f64,
    admitting: f64,
    answer: f64,
    slow_answer: f64,
    slow_answer_in_resync: f64,
    idle_connection: f64,
}

async fn replicas(bench: &Bench, stage: &mut Stage, ask: &Ask) -> anyhow::Result<Replicas> {
    stage.stop_manager().await;
    until_leading(stage.start_manager().await?).await?;
    let options = ManagerOptions {
        name: "second".to_owned(),
        webhook_port: None,
        ..stage.manager_options()
    };
    let mut second = Manager::start(&stage.control_plane, options).await?;
    let first = stage.manager()?.id();
    until_idle(first).await?;
    until_idle(second.id()).await?;
    let (leader, admitting) = (
        bytes(resident_kib(first)?),
        bytes(resident_kib(second.id())?),
    );
    let target = stage
        .webhooks(second.webhook_port())
        .await?;
    let mut client = target.connect(1).await?;
    client
        .repeat(ask, bench.window / 10)
        .await?;
    let load = client.repeat(ask, bench.window).await?;
    let idle_connection = idle_connection(&target, ask, second.id()).await?;
    // Now the one that admits takes the lead: it lists everything, and looks at it, beside its answers.
    stage.stop_manager().await;
    until_leading(&second).await?;
    let resync = client.repeat(ask, bench.window).await?;
    second.stop().await;
    Ok(Replicas {
        leader,
        admitting,
        answer: load.latencies.per_mille(500),
        slow_answer: load.latencies.per_mille(990),
        slow_answer_in_resync: resync.latencies.per_mille(990),
        idle_connection,
    })
}

async fn until_leading(manager: &Manager) -> anyhow::Result<()> {
    until("the manager to lead", LIMIT, async || {
        let metrics = manager.metrics().await?;
        Ok(metrics
            .contains("agentkube_leader 1")
            .then_some(()))
    })
    .await
}

/// What a connection costs that asked once and stays open, in bytes. They come one after the other, so that nothing is
/// counted of what answers take for a moment.
async fn idle_connection(target: &Target, ask: &Ask, id: u32) -> anyhow::Result<f64> {
    let before = resident_kib(id)?;
    let mut clients = Vec::new();
    for _ in 0..IDLE_CONNECTIONS {
        let mut client = target.connect(1).await?;
        client
            .each(1, |_| Ok(ask.clone()))
            .await?;
        clients.push(client);
    }
    let more = resident_kib(id)?.saturating_sub(before);
    Ok(bytes(more) / float(IDLE_CONNECTIONS))
}

fn counts(agents: usize) -> Vec<usize> {
    let mut counts: Vec<_> = COUNTS
        .into_iter()
        .filter(|count| *count < agents)
        .collect();
    counts.push(agents);
    counts
}

fn bytes(kib: u64) -> f64 {
    float(kib) * 1024.0
}

fn median(figures: &[f64]) -> f64 {
    super::statistics::Spread::of(figures.iter().copied()).map_or(0.0, |spread| spread.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_bounded_by_what_is_asked_for() {
        assert_eq!(counts(50_000), COUNTS);
        assert_eq!(counts(2_000), [0, 1_000, 2_000]);
    }
}
