//! Constant load on admission, by clients that do what a correct client does.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use agentkube::api::Agent;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, Error, Resource, api::PostParams};
use serde_json::json;
use tokio::{task::JoinSet, time::sleep};

/// The pause before the API server is asked again when it could not be.
const PAUSE: Duration = Duration::from_millis(100);

/// Clients that create pods through the webhooks as fast as they are answered, all in dry runs.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Calls>>,
    workers: JoinSet<()>,
}

/// What the clients saw.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    /// How many creations were answered: with a pod as it has to be, or as a failure.
    pub answered: u64,
    /// How often the API server itself could not answer, and was asked again.
    pub retried: u64,
    /// The calls that a correct client would have seen succeed without webhooks.
    pub failures: Vec<Failure>,
}

/// A call that failed, and when.
#[derive(Clone, Debug)]
pub struct Failure {
    /// When it began.
    pub from: Instant,
    /// When it was answered.
    pub to: Instant,
    /// What the API server said.
    pub message: String,
}

impl Load {
    /// Starts so many clients, each with a connection of its own. They create pods of the Agent `agent` in `namespace`, as
    /// it is now, whose container has to run `image` then.
    ///
    /// # Errors
    ///
    /// A client cannot be made, or the Agent cannot be read.
    pub async fn start(
        config: &kube::Config,
        clients: usize,
        namespace: &str,
        agent: &str,
        image: &str,
    ) -> anyhow::Result<Self> {
        let mut load = Self {
            stop: Arc::default(),
            seen: Arc::default(),
            workers: JoinSet::new(),
        };
        let agents = Api::<Agent>::namespaced(Client::try_from(config.clone())?, namespace);
        let owner = agents.get(agent).await?;
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {
                "generateName": "load-",
                "labels": {"agentkube.io/agent": agent},
                "annotations": {"agentkube.io/agent-generation": owner.metadata.generation.unwrap_or_default().to_string()},
                "ownerReferences": [owner.controller_owner_ref(&())],
            },
            "spec": {"containers": [{"name": "agent", "image": "agentkube.invalid/agent"}]},
        }))?;
        for _ in 0..clients {
            let pods = Api::namespaced(Client::try_from(config.clone())?, namespace);
            let (stop, seen) = (load.stop.clone(), load.seen.clone());
            let (pod, image) = (pod.clone(), image.to_owned());
            load.workers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    call(&pods, &pod, &image, &seen).await;
                }
            });
        }
        Ok(load)
    }

    /// What was seen up to now.
    #[must_use]
    pub fn so_far(&self) -> Calls {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Lets every client finish what it has begun, and says what all of them saw.
    pub async fn stop(mut self) -> Calls {
        self.stop.store(true, Ordering::Relaxed);
        while self.workers.join_next().await.is_some() {}
        self.so_far()
    }
}

async fn call(pods: &Api<Pod>, pod: &Pod, image: &str, seen: &Mutex<Calls>) {
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let from = Instant::now();
    let failure = match pods.create(&dry_run, pod).await {
        Ok(created) if runs(&created, image) => None,
        Ok(created) => Some(format!("another image than {image}: {:?}", created.spec)),
        // The answer of a webhook, or that there was none: what the webhooks asked to be tried again is.
        Err(Error::Api(status)) if is_ours(&status.message) && status.code != 503 => {
            Some(status.message)
        }
        // The API server, or what is behind it, is not there now. Every client asks again.
        Err(_) => {
            seen.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .retried += 1;
            sleep(PAUSE).await;
            return;
        }
    };
    let to = Instant::now();
    let mut seen = seen
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    seen.answered += 1;
    seen.failures
        .extend(failure.map(|message| Failure { from, to, message }));
}

fn is_ours(message: &str) -> bool {
    message.contains("failed calling webhook") || message.contains("denied the request")
}

fn runs(pod: &Pod, image: &str) -> bool {
    pod.spec.as_ref().is_some_and(|spec| {
        spec.containers
            .iter()
            .all(|container| container.image.as_deref() == Some(image))
    })
}
