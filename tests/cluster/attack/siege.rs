//! A manager under attack: what it costs in memory, and what a client that behaves notices.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use agentkube_playground::{Manager, ManagerOptions};
use anyhow::{Context, ensure};
use futures::{StreamExt, stream};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;
use tokio::sync::oneshot;

use super::wire::{Target, Wire};
use crate::{cluster::Cluster, direct::creation};

/// A program that is attacked instead of the one that was built for the tests, a release build for
/// instance.
pub(super) const BINARY: &str = "AGENTKUBE_BINARY";

/// The most memory that a release build may take, and the most that any build may take more than
/// at rest.
const MOST_KIB: u64 = 64 * 1024;
const MOST_GROWTH_KIB: u64 = 48 * 1024;

/// The good client's p99, for a release build.
const P99: Duration = Duration::from_millis(50);
/// The same for a debug build, on a machine that does other things: well before an API server gives
/// up.
const P99_DEBUG: Duration = Duration::from_secs(3);

/// How often an attack is run at most.
const RUNS: usize = 3;

/// The pauses of the good client: between two reviews, and between two new connections.
const PACE: Duration = Duration::from_millis(10);
const REVIEWS_PER_CONNECTION: usize = 10;

/// A manager, and everybody who speaks to it.
pub(super) struct Siege {
    manager: Manager,
    pub(super) target: Target,
    is_release: bool,
    calm: Latencies,
    at_rest: u64,
}

impl Siege {
    pub(super) async fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        let binary = std::env::var_os(BINARY);
        let is_release = binary.is_some();
        let mut options = cluster.manager_options(&[]);
        if let Some(binary) = binary {
            options = ManagerOptions {
                binary: binary.into(),
                ..options
            };
        }
        let manager = cluster
            .start_manager_with(options)
            .await?;
        let target = Target::of(cluster, &manager).await?;
        let calm = GoodClient::start(&target)
            .await
            .after(Duration::from_secs(1))
            .await?;
        ensure!(
            calm.errors.is_empty(),
            "without an attack: {:?}",
            calm.errors
        );
        let at_rest = memory(&manager, "VmRSS:")?;
        Ok(Self {
            manager,
            target,
            is_release,
            calm,
            at_rest,
        })
    }

    /// Lets an attack run beside the good client, and demands that neither the manager nor that
    /// client is any the worse for it. Says in a line what happened.
    ///
    /// A machine that does something else for a moment makes that client wait, too: of its p99, the
    /// best of some runs counts. Everything else has to hold in each.
    pub(super) async fn withstand(
        &self,
        attack: &str,
        run: impl AsyncFn(&Target) -> anyhow::Result<Ends>,
    ) -> anyhow::Result<Ends> {
        let limit = if self.is_release { P99 } else { P99_DEBUG };
        for _ in 1..RUNS {
            let (ends, good) = self.once(attack, &run).await?;
            if good.kept.p99() < limit {
                return Ok(ends);
            }
        }
        let (ends, good) = self.once(attack, &run).await?;
        ensure!(
            good.kept.p99() < limit,
            "{attack}: the good client's p99 is {}, {} without an attack",
            good.kept,
            self.calm.kept
        );
        Ok(ends)
    }

    async fn once(
        &self,
        attack: &str,
        run: impl AsyncFn(&Target) -> anyhow::Result<Ends>,
    ) -> anyhow::Result<(Ends, Latencies)> {
        // From here on the peak is counted anew.
        std::fs::write(format!("/proc/{}/clear_refs", self.manager.id()), "5")?;
        let before = memory(&self.manager, "VmRSS:")?;
        let good = GoodClient::start(&self.target).await;
        let start = Instant::now();
        let ends = run(&self.target).await?;
        let took = start.elapsed();
        // Some reviews more, so that there are enough of them for a p99.
        let good = good
            .after(Duration::from_secs(3))
            .await?;
        let peak = memory(&self.manager, "VmHWM:")?;
        let after = memory(&self.manager, "VmRSS:")?;
        println!(
            "| {attack} | {ends} | {:.1} s | {} | {} | {} / {} / {} MiB |",
            took.as_secs_f64(),
            good.kept,
            good.new,
            before / 1024,
            peak / 1024,
            after / 1024,
        );

        ensure!(good.errors.is_empty(), "{attack}: {:?}", good.errors);
        ensure!(
            peak < self.at_rest + MOST_GROWTH_KIB && (!self.is_release || peak < MOST_KIB),
            "{attack}: memory grew to {peak} KiB, from {} KiB at rest",
            self.at_rest
        );
        Ok((ends, good))
    }
}

/// How the connections, or requests, of an attack have ended.
#[derive(Debug, Default)]
pub(super) struct Ends {
    counts: BTreeMap<String, usize>,
    pub(super) longest: Duration,
}

impl Ends {
    /// Lets `count` attackers run, `width` at a time.
    pub(super) async fn of(
        count: usize,
        width: usize,
        attacker: impl AsyncFn(usize) -> anyhow::Result<String>,
    ) -> anyhow::Result<Self> {
        let attacker = &attacker;
        let ends = stream::iter(0..count)
            .map(async |index| {
                let start = Instant::now();
                // A connection that is refused or reset is one that has ended.
                let end = attacker(index)
                    .await
                    .unwrap_or_else(|_| "closed".to_owned());
                (end, start.elapsed())
            })
            .buffer_unordered(width)
            .collect::<Vec<_>>()
            .await;
        let mut all = Self::default();
        for (end, took) in ends {
            all.add(end, took);
        }
        Ok(all)
    }

    pub(super) fn add(&mut self, end: String, took: Duration) {
        *self.counts.entry(end).or_default() += 1;
        self.longest = self.longest.max(took);
    }

    pub(super) fn count(&self, end: &str) -> usize {
        self.counts
            .get(end)
            .copied()
            .unwrap_or_default()
    }

    /// Demands that there is no other end than these.
    pub(super) fn only(&self, ends: &[&str]) -> anyhow::Result<()> {
        let other = self
            .counts
            .keys()
            .find(|end| !ends.contains(&end.as_str()));
        ensure!(other.is_none(), "{self}, and not only {ends:?}");
        Ok(())
    }

    /// Demands that everybody was sent away in time; a busy machine is late by some seconds.
    pub(super) fn within(&self, limit: Duration) -> anyhow::Result<()> {
        let limit = limit + Duration::from_secs(4);
        ensure!(self.longest < limit, "one took {:?}", self.longest);
        Ok(())
    }
}

impl std::fmt::Display for Ends {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ends: Vec<_> = self
            .counts
            .iter()
            .map(|(end, count)| format!("{count} {end}"))
            .collect();
        write!(
            formatter,
            "{}, after at most {:.1} s",
            ends.join(", "),
            self.longest.as_secs_f64()
        )
    }
}

/// Raises the limit of open files as far as it goes, and says how many connections that allows.
pub(super) fn most_connections(wanted: usize) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    let files = getrlimit(Resource::Nofile)
        .current
        .unwrap_or(u64::MAX);
    // What the tests need besides.
    let allowed = usize::try_from(files)
        .unwrap_or(usize::MAX)
        .saturating_sub(1_000);
    if allowed < wanted {
        println!(
            "only {files} files may be open (ulimit -Hn): {allowed} connections and not {wanted}"
        );
    }
    wanted.min(allowed)
}

fn memory(manager: &Manager, line: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", manager.id()))
        .context("the manager is not there any more")?;
    status
        .lines()
        .find_map(|found| {
            let size = found.strip_prefix(line)?;
            size.trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .context("a size")
}

/// A client that sends usual reviews at a modest pace, on a thread of its own so that the attack
/// does not keep it from its work.
struct GoodClient {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Latencies>>,
}

/// What the good client saw.
#[derive(Debug, Default)]
struct Latencies {
    /// Of reviews on a connection that is kept.
    kept: Quantiles,
    /// Of reviews on new connections, handshake included.
    new: Quantiles,
    errors: Vec<String>,
}

#[derive(Debug, Default)]
struct Quantiles(Vec<Duration>);

impl GoodClient {
    /// Returns once it has had its first answer: an API server is there before the attack is.
    async fn start(target: &Target) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (target, stopped) = (target.clone(), stop.clone());
        let (ready, is_ready) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(Self::work(&target, &stopped, ready))
        });
        // One that has failed says so in the end.
        let _ = is_ready.await;
        Self { stop, thread }
    }

    async fn after(self, pause: Duration) -> anyhow::Result<Latencies> {
        tokio::time::sleep(pause).await;
        self.stop.store(true, Ordering::Relaxed);
        tokio::task::spawn_blocking(|| self.thread.join())
            .await?
            .ok()
            .context("the good client panicked")?
    }

    async fn work(
        target: &Target,
        stopped: &AtomicBool,
        ready: oneshot::Sender<()>,
    ) -> anyhow::Result<Latencies> {
        let mut seen = Latencies::default();
        let mut kept = target.connect().await?;
        kept.review(&usual()).await?;
        let _ = ready.send(());
        while !stopped.load(Ordering::Relaxed) {
            for _ in 0..REVIEWS_PER_CONNECTION {
                let start = Instant::now();
                match kept.review(&usual()).await {
                    Ok(200) => seen.kept.0.push(start.elapsed()),
                    other => seen
                        .errors
                        .push(format!("on a kept connection: {other:?}")),
                }
                tokio::time::sleep(PACE).await;
            }
            let start = Instant::now();
            let new = async {
                let mut wire = target.connect().await?;
                wire.review(&usual()).await
            };
            match new.await {
                Ok(200) => seen.new.0.push(start.elapsed()),
                other => seen
                    .errors
                    .push(format!("on a new connection: {other:?}")),
            }
            if !seen.errors.is_empty() {
                break;
            }
        }
        seen.kept.0.sort();
        seen.new.0.sort();
        Ok(seen)
    }
}

impl Wire {
    /// Sends a review as an API server would, and returns the code of the answer.
    async fn review(&mut self, body: &[u8]) -> anyhow::Result<u16> {
        self.post("/mutate?timeout=5s", body)
            .await?;
        Ok(self.answer().await?.status)
    }
}

impl Quantiles {
    fn p99(&self) -> Duration {
        self.per_cent(99)
    }

    fn per_cent(&self, per_cent: usize) -> Duration {
        self.0
            .get(self.0.len() * per_cent / 100)
            .or(self.0.last())
            .copied()
            .unwrap_or_default()
    }
}

impl std::fmt::Display for Quantiles {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for quantile in [self.per_cent(50), self.p99()] {
            let separator = if text.is_empty() { "" } else { " / " };
            write!(text, "{separator}{:.1}", quantile.as_secs_f64() * 1000.0)?;
        }
        write!(formatter, "{text} ms")
    }
}

/// The body of a usual review, 3 KB.
pub(super) fn usual() -> Vec<u8> {
    let spec = json!({
        "runtime": "Codex", "goal": {"inline": "x".repeat(2_500)},
        "agentToken": {"secretRef": {"name": "codex-token", "key": "token"}},
    });
    review(&creation("team", "good", "alice", &spec))
}

/// The body of a review that asks this.
pub(super) fn review(request: &serde_json::Value) -> Vec<u8> {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
        .to_string()
        .into_bytes()
}
