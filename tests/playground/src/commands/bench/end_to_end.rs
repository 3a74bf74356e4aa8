//! Creations of pods through the API server: with no policy, with rules in CEL, with our webhooks.

use std::{collections::BTreeMap, path::Path, time::Duration};

use agentkube_playground::{Manifest, apply, until};
use anyhow::Context;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    Bench,
    load::{Ask, Load},
    reviews::pod,
    stage::{LIMIT, Stage, agent_name},
    statistics::Metric,
};

/// How many connections create pods at a time.
pub(super) const CONNECTIONS: [usize; 2] = [1, 8];

/// Who has a say in a pod.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Peer {
    None,
    Cel,
    Webhook,
}

const PEERS: [Peer; 3] = [Peer::None, Peer::Cel, Peer::Webhook];

/// What is measured.
const METRICS: [Metric<Load>; 3] = [
    ("p50Ms", |load| load.latencies.per_mille(500)),
    ("p99Ms", |load| load.latencies.per_mille(990)),
    ("perSecond", Load::per_second),
];

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Cel => "cel",
            Self::Webhook => "webhook",
        }
    }

    fn namespace(self) -> String {
        format!("bench-{}", self.name())
    }

    /// What becomes of a pod's first image.
    fn has_decided(self, image: &str) -> bool {
        match self {
            Self::None => image.starts_with("agentkube.invalid/"),
            Self::Cel | Self::Webhook => image.starts_with("registry.example.com/exo-mirror/"),
        }
    }
}

/// How many steps that takes.
pub(super) fn steps(rounds: usize) -> usize {
    rounds * CONNECTIONS.len() * PEERS.len()
}

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let stage = Stage::with_manager(&bench.binary).await?;
    leave_out(&stage, &[Peer::None, Peer::Cel]).await?;
    for peer in PEERS {
        stage
            .namespace(&peer.namespace())
            .await?;
    }
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/cel-peer.yaml");
    let policies: Vec<Manifest> = agentkube_playground::read_manifests(&[policies])?;
    let applied = apply(&stage.control_plane.client(), policies).await?;
    if let Some(rejected) = applied.rejected.first() {
        anyhow::bail!("a policy of the peer is refused: {rejected:?}");
    }

    let owner = &agent_name(0);
    let ours = Peer::Webhook.namespace();
    stage
        .put_agents(&ours, 0..1, true)
        .await?;
    // The very same bytes for every peer.
    let body = pod(&stage.agent(&ours, owner).await?)?.to_string();
    let ask = |peer: Peer| {
        let namespace = peer.namespace();
        Ask::post(
            format!("/api/v1/namespaces/{namespace}/pods?dryRun=All"),
            body.clone(),
        )
    };
    for peer in PEERS {
        until_in_force(&stage, peer, &ask(peer)).await?;
    }

    let mut loads: BTreeMap<(usize, Peer), Vec<Load>> = BTreeMap::new();
    for round in 0..bench.rounds {
        for connections in CONNECTIONS {
            let mut peers = PEERS;
            // Nobody is always the first.
            peers.rotate_left(round % PEERS.len());
            for peer in peers {
                bench.step(&format!(
                    "endToEnd: {} at {connections} connections",
                    peer.name()
                ));
                let mut clients = stage.api.connect(connections).await?;
                clients
                    .repeat(&ask(peer), bench.window / 10)
                    .await?;
                let load = clients
                    .repeat(&ask(peer), bench.window)
                    .await?;
                loads
                    .entry((connections, peer))
                    .or_default()
                    .push(load);
            }
        }
    }

    for connections in CONNECTIONS {
        let of = |peer, metric: fn(&Load) -> f64| -> Vec<f64> {
            loads
                .get(&(connections, peer))
                .into_iter()
                .flatten()
                .map(metric)
                .collect()
        };
        for (quantile, metric) in [("P50", METRICS[0].1), ("P99", METRICS[1].1)] {
            let rounds = of(Peer::None, metric)
                .into_iter()
                .zip(of(Peer::Cel, metric))
                .zip(of(Peer::Webhook, metric));
            // A round in which policies cost nothing measured the noise.
            let ratios = rounds.map(|((none, cel), webhook)| match cel - none {
                added if added > 0.0 => (webhook - none) / added,
                _ => f64::NAN,
            });
            bench.figures.note(
                &format!("endToEnd.added{quantile}VsCel.{connections}"),
                ratios,
            );
        }
        for peer in PEERS {
            for (name, metric) in METRICS {
                let name = format!("endToEnd.{}.{name}.{connections}", peer.name());
                bench
                    .figures
                    .note(&name, of(peer, metric));
            }
        }
    }
    Ok(())
}

/// Leaves namespaces of peers out of the registrations, as the shipped ones do with two others already.
async fn leave_out(stage: &Stage, peers: &[Peer]) -> anyhow::Result<()> {
    let client = stage.control_plane.client();
    let name = agentkube::api::MANAGER;
    let mutating = Api::<MutatingWebhookConfiguration>::all(client.clone());
    let validating = Api::<ValidatingWebhookConfiguration>::all(client);
    let changed = |registration: Value| -> anyhow::Result<Value> {
        let mut webhooks = registration
            .get("webhooks")
            .and_then(Value::as_array)
            .cloned()
            .context("a registration has no webhooks")?;
        for webhook in &mut webhooks {
            let left_out = webhook
                .pointer_mut("/namespaceSelector/matchExpressions")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
                .filter(|expression| expression["operator"] == "NotIn")
                .filter_map(|expression| {
                    expression
                        .get_mut("values")?
                        .as_array_mut()
                });
            for values in left_out {
                values.extend(
                    peers
                        .iter()
                        .map(|peer| peer.namespace().into()),
                );
            }
        }
        Ok(json!({"webhooks": webhooks}))
    };
    let parameters = PatchParams::default();
    let patch = changed(serde_json::to_value(mutating.get(name).await?)?)?;
    mutating
        .patch(name, &parameters, &Patch::Merge(patch))
        .await?;
    let patch = changed(serde_json::to_value(validating.get(name).await?)?)?;
    validating
        .patch(name, &parameters, &Patch::Merge(patch))
        .await?;
    Ok(())
}

/// Waits until a pod comes out as this peer would have it: registrations and policies are followed a moment later.
async fn until_in_force(stage: &Stage, peer: Peer, ask: &Ask) -> anyhow::Result<()> {
    let mut last = String::new();
    until(&format!("the peer `{}`", peer.name()), LIMIT, async || {
        let decided = match stage.api.ask(ask).await {
            Ok(body) => {
                let pod: Value = serde_json::from_slice(&body)?;
                let image = pod
                    .pointer("/spec/containers/0/image")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                image.clone_into(&mut last);
                peer.has_decided(image)
            }
            Err(error) => {
                last = error.to_string();
                false
            }
        };
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(decided.then_some(()))
    })
    .await
    .with_context(|| format!("the last answer was: {last}"))
}
