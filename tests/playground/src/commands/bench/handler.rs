//! The webhook's port itself: ours against a constant answer on the very same listener.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::{
    Bench,
    load::{Ask, Load, Target},
    noop::Noop,
    process::cpu,
    reviews::mutate,
    stage::Stage,
    statistics::{Metric, float},
};

const CONNECTIONS: [usize; 3] = [1, 16, 256];

/// What reviews are called by their size, and how many bytes they have at least.
const SIZES: [(&str, usize); 2] = [("3KB", 0), ("25KB", 25_000)];

const NAMESPACE: &str = "bench-handler";

const PEERS: [&str; 2] = ["ours", "noop"];

pub(super) fn steps(rounds: usize) -> usize {
    rounds * SIZES.len() * CONNECTIONS.len() * PEERS.len()
}

/// One measurement.
struct Measured {
    load: Load,
    /// Microseconds on a processor for a request: the server's, and the client's.
    server: f64,
    client: f64,
}

const METRICS: [Metric<Measured>; 6] = [
    ("perSecond", |measured| measured.load.per_second()),
    ("p50Ms", |measured| measured.load.latencies.per_mille(500)),
    ("p99Ms", |measured| measured.load.latencies.per_mille(990)),
    ("p999Ms", |measured| measured.load.latencies.per_mille(999)),
    ("cpuMicros", |measured| measured.server),
    ("clientCpuMicros", |measured| measured.client),
];

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let stage = Stage::with_manager(&bench.binary).await?;
    let agent = stage
        .namespace_of_one(NAMESPACE)
        .await?;
    let manager = stage.manager()?;
    let ours = stage
        .webhooks(manager.webhook_port())
        .await?;

    let mut all: BTreeMap<(&str, &str, usize), Vec<Measured>> = BTreeMap::new();
    for (size, bytes) in SIZES {
        let ask = mutate(&agent, bytes)?;
        bench.figures.note(
            &format!("handler.reviewBytes.{size}"),
            [float(ask.body.len())],
        );
        let answer = ours.ask(&ask).await?;
        let decided: Value = serde_json::from_slice(&answer)?;
        anyhow::ensure!(
            decided
                .pointer("/response/patch")
                .is_some(),
            "the manager did not fill in the pod: {decided}"
        );
        let noop = Noop::start(&stage, &format!("noop-{size}"), &ask, &answer).await?;
        for round in 0..bench.rounds {
            for connections in CONNECTIONS {
                let mut peers = [
                    (PEERS[0], &ours, manager.id()),
                    (PEERS[1], &noop.target, noop.id()),
                ];
                peers.rotate_left(round % PEERS.len());
                for (peer, target, id) in peers {
                    bench.step(&format!(
                        "handler: {peer}, {size}, {connections} connections"
                    ));
                    let measured = measure(target, id, &ask, connections, bench.window).await?;
                    all.entry((peer, size, connections))
                        .or_default()
                        .push(measured);
                }
            }
        }
    }
    note(bench, &all);
    Ok(())
}

async fn measure(
    target: &Target,
    id: u32,
    ask: &Ask,
    connections: usize,
    window: Duration,
) -> anyhow::Result<Measured> {
    let mut clients = target.connect(connections).await?;
    clients.repeat(ask, window / 10).await?;
    let before = (cpu(id)?, cpu(std::process::id())?);
    let load = clients.repeat(ask, window).await?;
    let after = (cpu(id)?, cpu(std::process::id())?);
    let requests = float(load.latencies.count());
    let micros = |before: Duration, after: Duration| {
        after
            .saturating_sub(before)
            .as_secs_f64()
            * 1e6
            / requests
    };
    Ok(Measured {
        load,
        server: micros(before.0, after.0),
        client: micros(before.1, after.1),
    })
}

fn note(bench: &mut Bench, all: &BTreeMap<(&str, &str, usize), Vec<Measured>>) {
    for (size, _) in SIZES {
        for connections in CONNECTIONS {
            let of = |peer, metric: fn(&Measured) -> f64| -> Vec<f64> {
                all.get(&(peer, size, connections))
                    .into_iter()
                    .flatten()
                    .map(metric)
                    .collect()
            };
            for (ratio, metric) in [
                ("throughputVsNoop", METRICS[0].1),
                ("cpuVsNoop", METRICS[4].1),
            ] {
                let rounds = of(PEERS[0], metric)
                    .into_iter()
                    .zip(of(PEERS[1], metric));
                bench.figures.note(
                    &format!("handler.{ratio}.{size}.{connections}"),
                    rounds.map(|(ours, noop)| ours / noop),
                );
            }
            for peer in PEERS {
                for (name, metric) in METRICS {
                    let name = format!("handler.{peer}.{name}.{size}.{connections}");
                    bench
                        .figures
                        .note(&name, of(peer, metric));
                }
            }
        }
    }
}
