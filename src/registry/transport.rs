use std::{error::Error, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{
        self, Client,
        connect::{Connect, HttpConnector},
    },
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use thiserror::Error;
use tokio::time::timeout;
use tower::{ServiceExt, util::BoxCloneSyncService};

use super::{
    AskError,
    proxies::{Connector, Proxies, ProxyError},
};

/// Size limit of a body. Registries refuse manifests over 4 MiB.
const BODY_MAX: usize = 4 << 20;

/// Deadline of a connection attempt.
const CONNECT: Duration = Duration::from_secs(10);

/// HTTP and TLS, with a deadline and size limit for every answer.
pub(super) struct Transport {
    client: BoxCloneSyncService<Request<Full<Bytes>>, Response<Incoming>, legacy::Error>,
    deadline: Duration,
}

/// A complete answer.
pub(super) struct RegistryAnswer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Transport {
    /// A transport that trusts the certificate authorities of the system and of a PEM file.
    pub(super) fn new(
        authorities: Option<&[u8]>,
        proxies: Proxies,
        deadline: Duration,
    ) -> Result<Self, TransportError> {
        let mut roots = RootCertStore::empty();
        // Unreadable certificates of the system are skipped; the others may suffice.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(pem) = authorities {
            let mut found = false;
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|_| TransportError::Authority)?;
                roots
                    .add(certificate)
                    .map_err(|_| TransportError::Authority)?;
                found = true;
            }
            if !found {
                return Err(TransportError::Authority);
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| TransportError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(Connector { tcp, proxies });
        Ok(Self::over(connector, deadline))
    }

    /// A transport over a custom connector.
    pub(super) fn over(
        connector: impl Connect + Clone + Send + Sync + 'static,
        deadline: Duration,
    ) -> Self {
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self {
            client: BoxCloneSyncService::new(client),
            deadline,
        }
    }

    /// Gets a URL without following redirects.
    pub(super) async fn get(
        &self,
        url: &str,
        accept: &str,
        authorization: Option<&str>,
    ) -> Result<RegistryAnswer, AskError> {
        let mut request = Request::get(url).header(header::ACCEPT, accept);
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        self.send(request, Bytes::new()).await
    }

    /// Posts a form to a URL that answers with JSON.
    pub(super) async fn post(&self, url: &str, form: String) -> Result<RegistryAnswer, AskError> {
        let request = Request::post(url)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request, form.into()).await
    }

    async fn send(
        &self,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<RegistryAnswer, AskError> {
        let request = request
            .header(
                header::USER_AGENT,
                concat!("agentkube/", env!("CARGO_PKG_VERSION")),
            )
            .body(Full::new(body))
            .map_err(|_| AskError::Answer("the registry named an invalid URL".to_owned()))?;
        let exchange = async {
            let response = self
                .client
                .clone()
                .oneshot(request)
                .await
                .map_err(|error| failure(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, BODY_MAX)
                .collect()
                .await
                .map_err(|error| {
                    if error.is::<LengthLimitError>() {
                        AskError::Answer(format!(
                            "the registry answered with more than {} MiB",
                            BODY_MAX >> 20
                        ))
                    } else {
                        failure(&*error)
                    }
                })?;
            Ok(RegistryAnswer {
                status: head.status,
                headers: head.headers,
                body: body.to_bytes(),
            })
        };
        timeout(self.deadline, exchange)
            .await
            .unwrap_or_else(|_| {
                Err(AskError::Unreachable(format!(
                    "the registry did not answer within {} s",
                    self.deadline.as_secs_f32()
                )))
            })
    }
}

/// The reason why no client can be built. The options are at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The file of certificate authorities holds none.
    #[error("holds no usable certificate (hint: the file must be PEM)")]
    Authority,
    /// The TLS library failed.
    #[error("TLS cannot be used")]
    Tls,
}

/// Classifies an error: proxy, TLS or network.
fn failure(error: &(dyn Error + 'static)) -> AskError {
    if let Some(proxy) = find::<ProxyError>(error) {
        return AskError::Unreachable(format!("{proxy}: {}", innermost(proxy)));
    }
    match find(error) {
        Some(rustls::Error::InvalidMessage(_)) => {
            AskError::Tls("the registry does not speak TLS".to_owned())
        }
        Some(error) => AskError::Tls(format!("the connection is not trusted: {error}")),
        None => AskError::Unreachable(format!(
            "the registry cannot be reached: {}",
            innermost(error)
        )),
    }
}

/// Finds an error of this type among the sources. An `io::Error` hides its inner error from `source`.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    if let Some(found) = error.downcast_ref::<T>() {
        return Some(found);
    }
    let inner = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    if let Some(inner) = inner
        && let Some(found) = find(inner)
    {
        return Some(found);
    }
    error.source().and_then(find)
}

fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    match error.source() {
        Some(source) => innermost(source),
        None => error,
    }
}
