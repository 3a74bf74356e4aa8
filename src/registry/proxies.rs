use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Uri, uri::Scheme};
use hyper_util::{
    client::{
        legacy::connect::{HttpConnector, proxy::Tunnel},
        proxy::matcher::{Intercept, Matcher},
    },
    rt::TokioIo,
};
use thiserror::Error;
use tokio::net::TcpStream;
use tower::Service;

/// The proxies for registries with TLS; none by default. Registries without TLS are reached directly.
#[derive(Clone)]
pub struct Proxies(Arc<Matcher>);

impl Proxies {
    /// The proxies of `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, read as curl does.
    #[must_use]
    pub(crate) fn from_environment() -> Self {
        Self(Arc::new(Matcher::from_env()))
    }

    fn between_us_and(&self, registry: &Uri) -> Option<Intercept> {
        let Self(matcher) = self;
        (registry.scheme() == Some(&Scheme::HTTPS))
            .then(|| matcher.intercept(registry))
            .flatten()
    }
}

impl Default for Proxies {
    fn default() -> Self {
        Self(Arc::new(Matcher::builder().build()))
    }
}

/// Shows nothing, since the address of a proxy may hold a password.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies")
            .finish_non_exhaustive()
    }
}

/// Connects to a registry, directly or through a proxy.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) tcp: HttpConnector,
    pub(super) proxies: Proxies,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp
            .poll_ready(context)
            .map_err(Into::into)
    }

    fn call(&mut self, registry: Uri) -> Self::Future {
        let Some(proxy) = self.proxies.between_us_and(&registry) else {
            let connecting = self.tcp.call(registry);
            return Box::pin(async { Ok(connecting.await?) });
        };
        let failed = {
            let address = address(proxy.uri());
            move |reason| {
                Err(ProxyError {
                    proxy: address,
                    reason,
                }
                .into())
            }
        };
        if proxy.uri().scheme() != Some(&Scheme::HTTP) {
            return Box::pin(async { failed("only `http://` proxies are supported".into()) });
        }
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.tcp.clone());
        if let Some(user) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(user.clone());
        }
        let connecting = tunnel.call(registry);
        Box::pin(async {
            match connecting.await {
                Ok(stream) => Ok(stream),
                Err(error) => failed(error.into()),
            }
        })
    }
}

/// A failed connection through a proxy. The address has no user and password.
#[derive(Debug, Error)]
#[error("cannot connect through the proxy `{proxy}`")]
pub(super) struct ProxyError {
    proxy: String,
    #[source]
    reason: Box<dyn Error + Send + Sync>,
}

fn address(proxy: &Uri) -> String {
    let host = proxy.host().unwrap_or_default();
    match proxy.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}
