use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::StatusCode;
use hyper_util::client::legacy::connect::Connect;
use tokio::time::timeout;

use super::{
    AskError, Credentials, Image, Proxies, TransportError, access::Access, secrets::Secrets,
    session::Session, transport::Transport,
};
use crate::images::{DEFAULT_REGISTRY, ImageReference};

/// The host that serves the API of Docker Hub.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// The deadline of all answers about one image, as a multiple of the deadline of one answer.
const PATIENCE: u32 = 4;

/// The options of a [`Client`].
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The credentials for registries; anonymous by default.
    pub credentials: Credentials,
    /// Certificate authorities in PEM, in addition to the system's.
    pub authorities: Option<Vec<u8>>,
    /// Allows plain HTTP for a registry that does not speak TLS. An untrusted certificate stays an
    /// error.
    pub plain_http: bool,
    /// The proxies in front of registries.
    pub proxies: Proxies,
    /// The deadline of one answer, from the connection to the last byte, and of a credential helper.
    pub deadline: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            authorities: None,
            plain_http: false,
            proxies: Proxies::default(),
            deadline: Duration::from_secs(30),
        }
    }
}

/// A client that looks images up in their registries.
pub struct Client {
    access: Access,
    deadline: Duration,
    /// The scheme of each known host, if both are allowed.
    schemes: Mutex<HashMap<String, &'static str>>,
}

impl Client {
    /// A client with an empty cache.
    ///
    /// # Errors
    ///
    /// The certificate authorities are invalid.
    pub fn new(options: ClientOptions) -> Result<Self, TransportError> {
        let transport = Transport::new(
            options.authorities.as_deref(),
            options.proxies.clone(),
            options.deadline,
        )?;
        Ok(Self::with(transport, options))
    }

    /// A client with a custom connector, which is responsible for trust and proxies: `authorities` and
    /// `proxies` are ignored.
    #[must_use]
    pub fn over(
        connector: impl Connect + Clone + Send + Sync + 'static,
        options: ClientOptions,
    ) -> Self {
        Self::with(Transport::over(connector, options.deadline), options)
    }

    fn with(transport: Transport, options: ClientOptions) -> Self {
        let ClientOptions {
            credentials,
            authorities: _,
            plain_http,
            proxies: _,
            deadline,
        } = options;
        Self {
            access: Access {
                transport,
                secrets: Secrets::new(credentials, deadline),
                plain_http,
            },
            deadline,
            schemes: Mutex::default(),
        }
    }

    /// Looks the image up in its registry.
    ///
    /// # Errors
    ///
    /// The image is not there, or its registry could not be asked.
    pub async fn image(&self, reference: &ImageReference) -> Result<Image, AskError> {
        let host = match reference.host() {
            "" => {
                return Err(AskError::Answer(
                    "the reference names no registry that can be queried".to_owned(),
                ));
            }
            DEFAULT_REGISTRY => DOCKER_HUB,
            host => host,
        };
        let scheme = self.scheme(host).await?;
        let base = format!("{scheme}://{host}/v2/{}", reference.path());
        let limit = self.deadline.saturating_mul(PATIENCE);
        timeout(limit, Session::new(&self.access, base, reference).image())
            .await
            .unwrap_or_else(|_| {
                Err(AskError::Unreachable(format!(
                    "the registry did not answer everything within {} s",
                    limit.as_secs_f32()
                )))
            })
    }

    /// The scheme to use for a host.
    async fn scheme(&self, host: &str) -> Result<&'static str, AskError> {
        if !self.access.plain_http {
            return Ok("https");
        }
        let known = self
            .schemes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(host)
            .copied();
        if let Some(scheme) = known {
            return Ok(scheme);
        }
        let url = |scheme| format!("{scheme}://{host}/v2/");
        let scheme = match self
            .access
            .transport
            .get(&url("https"), "*/*", None)
            .await
        {
            Ok(_) => "https",
            // A certificate error of a server that speaks TLS is reported. Falling back to plain HTTP
            // would hide it and expose credentials.
            Err(first) => match self
                .access
                .transport
                .get(&url("http"), "*/*", None)
                .await
            {
                Ok(answer) if answer.status != StatusCode::BAD_REQUEST => "http",
                _ => return Err(first),
            },
        };
        self.schemes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(host.to_owned(), scheme);
        Ok(scheme)
    }
}
