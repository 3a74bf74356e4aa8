//! How long a replica takes: to its first answer with certificates in place, and until it is ready with Agents there.

use std::time::{Duration, Instant};

use agentkube_playground::Manager;
use tokio::time::sleep;

use super::{
    Bench,
    load::{Ask, Target},
    reviews::mutate,
    stage::{LIMIT, Stage},
    statistics::milliseconds,
};

const NAMESPACE: &str = "bench-start";

pub(super) fn steps(rounds: usize) -> usize {
    2 * rounds + 1
}

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let mut stage = Stage::with_manager(&bench.binary).await?;
    let agent = stage
        .namespace_of_one(NAMESPACE)
        .await?;
    let ask = mutate(&agent, 0)?;
    let port = stage.manager()?.webhook_port();
    let target = stage.webhooks(port).await?;

    let (mut answers, mut readies) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        bench.step("start: to the first answer");
        stage.stop_manager().await;
        let options = stage.manager_options();
        let mut manager = Manager::spawn(&stage.control_plane, options).await?;
        answers.push(milliseconds(
            first_answer(&mut manager, &target, &ask).await?,
        ));
        stage.manager = Some(manager);
    }
    bench
        .figures
        .note("start.firstAnswerMs", answers);

    bench.step(&format!(
        "start: putting {} Agents there",
        bench.agents.start
    ));
    stage.stop_manager().await;
    stage.start_answering_manager().await?;
    stage
        .put_agents(NAMESPACE, 1..bench.agents.start, true)
        .await?;
    for _ in 0..bench.rounds {
        bench.step("start: until ready with Agents");
        stage.stop_manager().await;
        let options = stage.manager_options();
        let mut manager = Manager::spawn(&stage.control_plane, options).await?;
        readies.push(milliseconds(ready(&mut manager).await?));
        stage.manager = Some(manager);
    }
    let name = format!("start.readyMs.{}", bench.agents.start);
    bench.figures.note(&name, readies);
    Ok(())
}

/// From right before the start of the process to its first answer to a review.
async fn first_answer(
    manager: &mut Manager,
    target: &Target,
    ask: &Ask,
) -> anyhow::Result<Duration> {
    let started = manager.started();
    let limit = started + LIMIT;
    while Instant::now() < limit {
        if target.ask(ask).await.is_ok() {
            return Ok(started.elapsed());
        }
        manager.expect_running()?;
        sleep(Duration::from_micros(500)).await;
    }
    anyhow::bail!("the manager did not answer within {} s", LIMIT.as_secs())
}

/// From right before the start of the process until it says that it is ready.
async fn ready(manager: &mut Manager) -> anyhow::Result<Duration> {
    let started = manager.started();
    let limit = started + LIMIT;
    while Instant::now() < limit {
        if manager.is_ready().await {
            return Ok(started.elapsed());
        }
        manager.expect_running()?;
        sleep(Duration::from_micros(500)).await;
    }
    anyhow::bail!("the manager was not ready within {} s", LIMIT.as_secs())
}
