use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::{StatusCode, Uri, header};
use serde::Deserialize;

use super::{
    AskError, Credentials, Image, PlatformImage, TransportError,
    challenge::{Challenge, token_url},
    manifest::{self, ACCEPTED, Document, Platform},
    transport::{Answer, Transport},
};
use crate::images::{DEFAULT_REGISTRY, ImageReference};

/// The host that serves the API of Docker Hub.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// How often a registry may send us elsewhere for one answer.
const REDIRECTS: usize = 5;

/// How many platforms of one image are looked at. None has a tenth of it.
const PLATFORMS_MAX: usize = 64;

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
    /// How long one answer may take, from the connection to the last byte.
    pub deadline: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            authorities: None,
            plain_http: false,
            deadline: Duration::from_secs(30),
        }
    }
}

/// Asks registries about images.
pub struct Client {
    transport: Transport,
    credentials: Credentials,
    plain_http: bool,
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
        let ClientOptions {
            credentials,
            authorities,
            plain_http,
            deadline,
        } = options;
        Ok(Self {
            transport: Transport::new(authorities.as_deref(), deadline)?,
            credentials,
            plain_http,
            schemes: Mutex::default(),
        })
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
        let mut session = Session {
            client: self,
            base: format!("{scheme}://{host}/v2/{}", reference.path()),
            authorization: None,
            reference,
        };
        session.image().await
    }

    /// The scheme that a host is asked with.
    async fn scheme(&self, host: &str) -> Result<&'static str, AskError> {
        if !self.plain_http {
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
            .transport
            .get(&url("https"), "*/*", None)
            .await
        {
            Ok(_) => "https",
            // What is wrong with the certificate of a server that speaks TLS is reported, not
            // circumvented: plain HTTP would tell less, and carry credentials.
            Err(first) => match self
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

/// The questions about one image: a token is for one repository.
struct Session<'a> {
    client: &'a Client,
    base: String,
    authorization: Option<String>,
    reference: &'a ImageReference,
}

impl Session<'_> {
    async fn image(&mut self) -> Result<Image, AskError> {
        let (tag, digest) = (self.reference.tag(), self.reference.digest());
        let version = digest.or(tag).unwrap_or("latest");
        let (body, document) = self.document(version).await?;
        let mut image = Image {
            digest: digest.map_or_else(|| manifest::sha256(&body), str::to_owned),
            platforms: Vec::new(),
            hollow: Vec::new(),
        };
        let Some(children) = document.manifests else {
            let platform = self.platform_of(&document).await?;
            image
                .platforms
                .push(platform_image(platform.name(), document)?);
            return Ok(image);
        };
        let children = children
            .into_iter()
            .filter_map(|child| {
                let platform = child.platform?;
                platform
                    .is_known()
                    .then(|| (child.digest, platform.name()))
            })
            .take(PLATFORMS_MAX);
        for (digest, platform) in children {
            match self.document(&digest).await {
                Ok((_, document)) => image
                    .platforms
                    .push(platform_image(platform, document)?),
                Err(AskError::Missing) => image.hollow.push(platform),
                Err(error) => return Err(error),
            }
        }
        Ok(image)
    }

    /// The platform of an image without an index stands in its configuration.
    async fn platform_of(&mut self, document: &Document) -> Result<Platform, AskError> {
        let Some(config) = &document.config else {
            return Ok(Platform::default());
        };
        let url = format!("{}/blobs/{}", self.base, config.digest);
        let body = self.fetch(url, "*/*").await?.body;
        verify(&body, &config.digest)?;
        manifest::read(&body, "the image's configuration")
    }

    /// The index or manifest that a tag or digest names.
    async fn document(&mut self, version: &str) -> Result<(bytes::Bytes, Document), AskError> {
        let url = format!("{}/manifests/{version}", self.base);
        let body = self.fetch(url, ACCEPTED).await?.body;
        if version.contains(':') {
            verify(&body, version)?;
        }
        let document = manifest::read(&body, "a manifest")?;
        Ok((body, document))
    }

    /// Gets an address of the registry, with a token where it wants one, and wherever it sends us.
    async fn fetch(&mut self, url: String, accept: &str) -> Result<Answer, AskError> {
        let host = host_of(&url)?;
        let mut url = url;
        let mut asked_for_token = false;
        for _ in 0..=REDIRECTS {
            // Credentials are for the registry alone, not for where it keeps its blobs.
            let at_home = host_of(&url)? == host;
            let authorization = self
                .authorization
                .as_deref()
                .filter(|_| at_home);
            let answer = self
                .client
                .transport
                .get(&url, accept, authorization)
                .await?;
            match answer.status {
                StatusCode::OK => return Ok(answer),
                StatusCode::NOT_FOUND => return Err(AskError::Missing),
                StatusCode::UNAUTHORIZED if at_home && !asked_for_token => {
                    asked_for_token = true;
                    self.authorize(&answer).await?;
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.denied()),
                status if status.is_redirection() => url = self.redirected(&url, &answer)?,
                status => {
                    return Err(AskError::Answer(format!(
                        "the registry answered with {status}"
                    )));
                }
            }
        }
        Err(AskError::Answer(
            "the registry sends us from one address to the next".to_owned(),
        ))
    }

    /// Gets what a registry asks for in its challenge.
    async fn authorize(&mut self, answer: &Answer) -> Result<(), AskError> {
        let headers = answer
            .headers
            .get_all(header::WWW_AUTHENTICATE)
            .into_iter()
            .filter_map(|value| value.to_str().ok());
        let basic = self
            .client
            .credentials
            .find(self.reference.host(), self.reference.path())
            .map(|encoded| format!("Basic {encoded}"));
        match Challenge::choose(headers) {
            Some(Challenge::Basic) if basic.is_some() => self.authorization = basic,
            Some(Challenge::Bearer { realm, service }) => {
                self.check_scheme(&realm)?;
                let url = token_url(&realm, service.as_deref(), self.reference.path());
                let answer = self
                    .client
                    .transport
                    .get(&url, "application/json", basic.as_deref())
                    .await?;
                match answer.status {
                    StatusCode::OK => {}
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.denied()),
                    status => {
                        return Err(AskError::Answer(format!(
                            "the registry's token service answered with {status}"
                        )));
                    }
                }
                let token: Token = manifest::read(&answer.body, "a token")?;
                let token = token
                    .token
                    .or(token.access_token)
                    .unwrap_or_default();
                self.authorization = Some(format!("Bearer {token}"));
            }
            _ => return Err(self.denied()),
        }
        Ok(())
    }

    fn denied(&self) -> AskError {
        let known = self
            .client
            .credentials
            .find(self.reference.host(), self.reference.path());
        AskError::Denied(
            match known {
                Some(_) => "the registry refuses these credentials",
                None => "the registry wants credentials",
            }
            .to_owned(),
        )
    }

    fn redirected(&self, from: &str, answer: &Answer) -> Result<String, AskError> {
        let strange =
            || AskError::Answer("the registry sends us to an address that is none".to_owned());
        let location = answer
            .headers
            .get(header::LOCATION)
            .and_then(|value| value.to_str().ok())
            .ok_or_else(strange)?;
        let url = if location.starts_with('/') {
            let from: Uri = from.parse().map_err(|_| strange())?;
            let authority = from.authority().ok_or_else(strange)?;
            let scheme = from.scheme_str().unwrap_or("https");
            format!("{scheme}://{authority}{location}")
        } else {
            location.to_owned()
        };
        self.check_scheme(&url)?;
        Ok(url)
    }

    /// Plain HTTP is for those who allowed it, whoever asks for it.
    fn check_scheme(&self, url: &str) -> Result<(), AskError> {
        if url.starts_with("https://") || (self.client.plain_http && url.starts_with("http://")) {
            Ok(())
        } else if url.starts_with("http://") {
            Err(AskError::Tls(
                "the registry sends us to an address without TLS".to_owned(),
            ))
        } else {
            Err(AskError::Answer(
                "the registry sends us to an address that is none".to_owned(),
            ))
        }
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

fn platform_image(platform: String, document: Document) -> Result<PlatformImage, AskError> {
    let (Some(config), Some(layers)) = (document.config, document.layers) else {
        return Err(AskError::Answer(
            "the registry answered with a manifest that names no layers".to_owned(),
        ));
    };
    let mut blobs = layers;
    blobs.push(config);
    Ok(PlatformImage { platform, blobs })
}

fn verify(body: &[u8], digest: &str) -> Result<(), AskError> {
    if manifest::matches(body, digest) {
        Ok(())
    } else {
        Err(AskError::Answer(
            "the registry answered with something that does not have the digest it was asked for"
                .to_owned(),
        ))
    }
}

fn host_of(url: &str) -> Result<String, AskError> {
    url.parse::<Uri>()
        .ok()
        .and_then(|uri| Some(uri.authority()?.to_string()))
        .ok_or_else(|| AskError::Answer("the registry has an address that is none".to_owned()))
}
