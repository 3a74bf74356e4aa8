//! An API server whose answers can be held back, in front of the real one.

use std::{
    future::Future,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderValue, Method, Request, Response, StatusCode, header},
};
use futures::StreamExt;
use kube::Client;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::timeout};

use crate::{controlplane::ControlPlane, manager::running::token};

/// How long the creation of a pod may take to come.
const LIMIT: Duration = Duration::from_secs(60);

/// What is held back.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Held {
    Nothing,
    /// Events of watches.
    Watches,
    /// Every answer.
    Everything,
}

/// Passes requests on to the API server as they are, with the credentials that they carry.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    held: watch::Sender<Held>,
    creations: Arc<Creations>,
    refusal: Arc<Refusal>,
    server: JoinHandle<()>,
}

struct Upstream {
    client: Client,
    held: watch::Receiver<Held>,
    creations: Arc<Creations>,
    refusal: Arc<Refusal>,
}

/// Creations of pods, which can be held back before the API server sees them.
#[derive(Debug)]
struct Creations {
    /// Whether they are held back.
    are_held: watch::Sender<bool>,
    /// How many have come to the proxy.
    count: watch::Sender<usize>,
}

/// What is answered to writes in place of the API server; a code of 0 is nothing.
#[derive(Debug, Default)]
struct Refusal {
    code: AtomicU16,
    count: AtomicUsize,
}

impl Proxy {
    /// Starts one at a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub async fn start(control_plane: &ControlPlane) -> anyhow::Result<Self> {
        let mut config = control_plane.config();
        config.auth_info = kube::config::AuthInfo::default();
        let (held, receiver) = watch::channel(Held::Nothing);
        let refusal = Arc::<Refusal>::default();
        let creations = Arc::new(Creations {
            are_held: watch::channel(false).0,
            count: watch::channel(0).0,
        });
        let upstream = Arc::new(Upstream {
            client: Client::try_from(config)?,
            held: receiver,
            creations: creations.clone(),
            refusal: refusal.clone(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let router = Router::new()
            .fallback(pass_on)
            .with_state(upstream);
        let server = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let service = hyper_util::service::TowerToHyperService::new(router.clone());
                let stream = hyper_util::rt::TokioIo::new(stream);
                connections.spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(stream, service),
                );
            }
        });
        Ok(Self {
            port,
            held,
            creations,
            refusal,
            server,
        })
    }

    /// Writes the kubeconfig `NAME.kubeconfig` of the manager's ServiceAccount that goes through this proxy, into the
    /// state directory, and returns its path.
    ///
    /// # Errors
    ///
    /// There is no such ServiceAccount, or the file cannot be written.
    pub async fn kubeconfig(
        &self,
        control_plane: &ControlPlane,
        name: &str,
    ) -> anyhow::Result<String> {
        let token = token(control_plane).await?;
        let path = control_plane
            .directory()
            .join(format!("{name}.kubeconfig"));
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://127.0.0.1:{}", self.port)}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        });
        tokio::fs::write(&path, config.to_string()).await?;
        Ok(path.display().to_string())
    }

    /// From now on nothing new is told to those who watch.
    pub fn freeze_watches(&self) {
        self.held.send_replace(Held::Watches);
    }

    /// From now on no pod is created.
    pub fn hold_pods(&self) {
        self.creations.count.send_replace(0);
        self.creations
            .are_held
            .send_replace(true);
    }

    /// Waits until the creation of a pod is held back.
    ///
    /// # Errors
    ///
    /// None comes in time.
    pub async fn until_a_pod_is_held(&self) -> anyhow::Result<()> {
        let mut count = self.creations.count.subscribe();
        timeout(LIMIT, count.wait_for(|count| *count > 0))
            .await
            .context("no pod was about to be created")??;
        Ok(())
    }

    /// Lets pods be created again, those that were held back first.
    pub fn release_pods(&self) {
        self.creations
            .are_held
            .send_replace(false);
    }

    /// From now on every write is answered with this code. 429 comes with `Retry-After`, as an API server's does.
    pub fn answer_writes_with(&self, code: u16) {
        self.refusal
            .count
            .store(0, Ordering::Relaxed);
        self.refusal
            .code
            .store(code, Ordering::Relaxed);
    }

    /// How many writes were answered so, of the last code.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.refusal
            .count
            .load(Ordering::Relaxed)
    }

    /// From now on everything passes.
    pub fn thaw(&self) {
        self.refusal
            .code
            .store(0, Ordering::Relaxed);
        self.held.send_replace(Held::Nothing);
    }

    /// From now on nothing is answered.
    pub fn freeze_everything(&self) {
        self.held.send_replace(Held::Everything);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Upstream {
    /// Returns once less than this is held back.
    fn below(&self, held: Held) -> impl Future<Output = ()> + Send + use<> {
        let mut receiver = self.held.clone();
        async move {
            // An error would mean that the proxy is gone, and who waits here with it.
            let _ = receiver
                .wait_for(|now| *now < held)
                .await;
        }
    }
}

impl Refusal {
    fn answer(&self) -> Option<Response<Body>> {
        let code = self.code.load(Ordering::Relaxed);
        let code = StatusCode::from_u16(code).ok()?;
        self.count
            .fetch_add(1, Ordering::Relaxed);
        let failure = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "this is a test of patience", "reason": "InternalError", "code": code.as_u16(),
        });
        let mut response = Response::new(Body::from(failure.to_string()));
        *response.status_mut() = code;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if code == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Some(response)
    }
}

async fn pass_on(State(upstream): State<Arc<Upstream>>, request: Request<Body>) -> Response<Body> {
    upstream.below(Held::Everything).await;
    if request.method() != Method::GET
        && let Some(refused) = upstream.refusal.answer()
    {
        return refused;
    }
    if request.method() == Method::POST && request.uri().path().ends_with("/pods") {
        let mut are_held = upstream.creations.are_held.subscribe();
        upstream
            .creations
            .count
            .send_modify(|count| *count += 1);
        // An error would mean that the proxy is gone, and who waits here with it.
        let _ = are_held
            .wait_for(|are_held| !are_held)
            .await;
    }
    let (mut head, body) = request.into_parts();
    let is_watch = head
        .uri
        .query()
        .is_some_and(|query| query.contains("watch=true"));
    head.headers.remove(header::HOST);
    let Ok(body) = axum::body::to_bytes(body, 8 << 20).await else {
        return status(StatusCode::BAD_REQUEST);
    };
    let request = Request::from_parts(head, kube::client::Body::from(body.to_vec()));
    let Ok(response) = upstream.client.send(request).await else {
        return status(StatusCode::BAD_GATEWAY);
    };
    let (head, body) = response.into_parts();
    let body = Body::new(body);
    if !is_watch {
        return Response::from_parts(head, body);
    }
    let events = body
        .into_data_stream()
        .then(move |event| {
            let free = upstream.below(Held::Watches);
            async move {
                free.await;
                event
            }
        });
    Response::from_parts(head, Body::from_stream(events))
}

fn status(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response
}
