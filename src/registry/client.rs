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

/// How many deadlines all answers about one image may take together.
const PATIENCE: u32 = 4;

/// How registries are asked.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Whom registries hear from; nobody by default.
    pub credentials: Credentials,
    /// Certificate authorities in PEM, besides the system's.
    pub authorities: Option<Vec<u8>>,
    /// Whether a registry that does not speak TLS is asked in plain HTTP. A certificate that is
    /// not to be trusted stays a failure.
    pub plain_http: bool,
    /// What stands between us and registries.
    pub proxies: Proxies,
    /// How long one answer may take, from the connection to the last byte; that of a credential
    /// helper, too.
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

/// Asks registries about images.
pub struct Client {
    access: Access,
    deadline: Duration,
    /// The scheme of each host that was asked, where both are allowed.
    schemes: Mutex<HashMap<String, &'static str>>,
}

impl Client {
    /// A client that remembers nothing yet.
    ///
    /// # Errors
    ///
    /// Certificate authorities that are none.
    pub fn new(options: ClientOptions) -> Result<Self, TransportError> {
        let transport = Transport::new(
            options.authorities.as_deref(),
            options.proxies.clone(),
            options.deadline,
        )?;
        Ok(Self::with(transport, options))
    }

    /// A client that connects in a way of its own. Whom to trust, and what stands between, is for
    /// the connector to know: `authorities` and `proxies` are not looked at.
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

    /// Asks the image's registry what it holds of it.
    ///
    /// # Errors
    ///
    /// The image is not there, or its registry could not be asked.
    pub async fn image(&self, reference: &ImageReference) -> Result<Image, AskError> {
        let host = match reference.host() {
            "" => {
                return Err(AskError::Answer(
                    "the reference names no registry that could be asked".to_owned(),
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
                    "the registry did not tell all within {} s",
                    limit.as_secs_f32()
                )))
            })
    }

    /// The scheme that a host is asked with.
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
            // What is wrong with the certificate of a server that speaks TLS is reported, not
            // circumvented: plain HTTP would tell less, and carry credentials.
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
