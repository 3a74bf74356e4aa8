//! A namespace, a few people in it, and what they did.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use fastrand::Rng;
use kube::Config;
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    audit::{AuditLog, Event, PREFIX},
    cast::{Cast, Member},
    ground::{AGENTS, PODS, clear, set_up},
    hands::{Hands, items},
    moves,
};

/// How long pods may take to come after the last move.
const SETTLE: Duration = Duration::from_secs(4);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Everything that episodes have in common.
pub(super) struct World {
    pub(super) admin: kube::Client,
    pub(super) config: Config,
    pub(super) audit: AuditLog,
}

/// What happened in an episode.
pub(super) struct Played {
    pub(super) namespace: String,
    pub(super) cast: Cast,
    pub(super) actions: usize,
    pub(super) events: Vec<Event>,
}

/// Plays the episode of this number.
pub(super) async fn play(world: Arc<World>, seed: u64, number: u64) -> anyhow::Result<Played> {
    let mut rng = Rng::with_seed(
        seed.wrapping_mul(1_000_003)
            .wrapping_add(number),
    );
    let namespace = format!("{PREFIX}{number}");
    let cast = Cast::choose(&mut rng, &namespace);
    set_up(&world.admin, &namespace, &cast)
        .await
        .with_context(|| format!("cannot set up the namespace {namespace}"))?;

    let mut actions = 0;
    if let Some(admin) = cast
        .0
        .first()
        .filter(|_| rng.u8(..5) > 0)
    {
        let hands = Hands::of(&admin.user, world.config.clone(), &namespace)?;
        for what in moves::opening(&mut rng, admin) {
            actions += hands.make(&what).await;
        }
    }
    let mut acting = JoinSet::new();
    for member in &cast.0 {
        let hands = Hands::of(&member.user, world.config.clone(), &namespace)?;
        acting.spawn(act(hands, member.clone(), rng.fork()));
    }
    while let Some(acted) = acting.join_next().await {
        actions += acted?;
    }

    let admin = Hands::new(world.admin.clone(), &namespace);
    settle(&admin).await;
    let cleared = clear(&admin).await;
    let events = world.audit.take(&namespace)?;
    cleared.with_context(|| format!("the namespace {namespace} cannot be cleared"))?;
    let deletion =
        http::Request::delete(format!("/api/v1/namespaces/{namespace}")).body(Vec::new())?;
    let _ = world
        .admin
        .request::<Value>(deletion)
        .await;
    Ok(Played {
        namespace,
        cast,
        actions,
        events,
    })
}

/// One member's bursts, with pauses between them.
async fn act(hands: Hands, member: Member, mut rng: Rng) -> usize {
    let mut actions = 0;
    for _ in 0..rng.usize(3..=8) {
        for what in moves::burst(&mut rng, &member) {
            actions += hands.make(&what).await;
        }
        sleep(Duration::from_millis(rng.u64(..150))).await;
    }
    actions
}

/// Waits for the pods of armed Agents, but not for those that cannot come.
async fn settle(admin: &Hands) {
    let end = Instant::now() + SETTLE;
    while Instant::now() < end {
        if is_settled(admin)
            .await
            .unwrap_or_default()
        {
            return;
        }
        sleep(PAUSE).await;
    }
}

async fn is_settled(admin: &Hands) -> anyhow::Result<bool> {
    let (agents, pods) = (admin.get(AGENTS).await?, admin.get(PODS).await?);
    let pods = items(&pods)?;
    Ok(items(&agents)?.iter().all(|agent| {
        let is_waited_for = agent.pointer("/spec/paused") == Some(&Value::Bool(false))
            && agent
                .pointer("/metadata/deletionTimestamp")
                .is_none();
        !is_waited_for
            || pods
                .iter()
                .any(|pod| pod.pointer("/metadata/name") == agent.pointer("/metadata/name"))
    }))
}
