//! What a Service does for its pods, for processes on this machine.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::{loopback::http_get, manager::running::Manager};

/// How often each replica is asked whether it is ready: the `periodSeconds` of a probe, in short.
const PERIOD: Duration = Duration::from_millis(250);
/// The `timeoutSeconds` of a probe.
const PATIENCE: Duration = Duration::from_secs(1);

/// Spreads connections over the replicas that say that they are ready.
///
/// As with a Service, a connection stays with its replica for as long as both ends keep it, whatever the probes say. A
/// replica that refuses a connection is passed over: its kubelet would have noticed that it is gone.
#[derive(Debug)]
pub struct Balancer {
    port: u16,
    backends: Backends,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Clone, Debug, Default)]
struct Backends(Arc<Mutex<Vec<Backend>>>);

#[derive(Clone, Debug)]
struct Backend {
    webhook: u16,
    probes: u16,
    is_ready: bool,
}

impl Balancer {
    /// Listens on this port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// Somebody else does.
    pub async fn start(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let backends = Backends::default();
        let tasks = vec![
            tokio::spawn(pass_on(listener, backends.clone())),
            tokio::spawn(probe(backends.clone())),
        ];
        Ok(Self {
            port,
            backends,
            tasks,
        })
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Adds a replica; it gets connections once it is ready.
    pub fn add(&self, manager: &Manager) {
        self.backends.lock().push(Backend {
            webhook: manager.webhook_port(),
            probes: manager.probe_port(),
            is_ready: false,
        });
    }

    /// Takes a replica off the list: it gets no new connections.
    pub fn remove(&self, manager: &Manager) {
        self.backends
            .lock()
            .retain(|backend| backend.webhook != manager.webhook_port());
    }

    /// Whether a replica gets connections.
    #[must_use]
    pub fn serves(&self, manager: &Manager) -> bool {
        self.backends
            .lock()
            .iter()
            .any(|backend| backend.webhook == manager.webhook_port() && backend.is_ready)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Backends {
    fn lock(&self) -> MutexGuard<'_, Vec<Backend>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The ports of those that are ready, each time beginning with another one.
    fn ready(&self, turn: usize) -> Vec<u16> {
        let mut ports: Vec<_> = self
            .lock()
            .iter()
            .filter(|backend| backend.is_ready)
            .map(|backend| backend.webhook)
            .collect();
        if !ports.is_empty() {
            let middle = turn % ports.len();
            ports.rotate_left(middle);
        }
        ports
    }
}

async fn pass_on(listener: TcpListener, backends: Backends) {
    let mut connections = JoinSet::new();
    let mut turn = 0_usize;
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((mut client, _)) = listener.accept().await else {
            sleep(PERIOD).await;
            continue;
        };
        turn = turn.wrapping_add(1);
        let ports = backends.ready(turn);
        connections.spawn(async move {
            for port in ports {
                if let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                    let _ = (client.set_nodelay(true), server.set_nodelay(true));
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                    return;
                }
            }
        });
    }
}

async fn probe(backends: Backends) {
    loop {
        let asked = backends.lock().clone();
        let mut probes = JoinSet::new();
        for backend in asked {
            probes.spawn(async move {
                let answer = timeout(PATIENCE, http_get(backend.probes, "/readyz")).await;
                (backend.webhook, matches!(answer, Ok(Ok((200, _)))))
            });
        }
        while let Some(answer) = probes.join_next().await {
            let Ok((port, is_ready)) = answer else {
                continue;
            };
            for backend in backends.lock().iter_mut() {
                if backend.webhook == port {
                    backend.is_ready = is_ready;
                }
            }
        }
        sleep(PERIOD).await;
    }
}
