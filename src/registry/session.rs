use http::{StatusCode, Uri, header};
use serde::Deserialize;

use super::{
    AskError, Blob, Image, PlatformImage,
    access::Access,
    challenge::{Challenge, token_form, token_url},
    manifest::{self, ACCEPTED, ManifestDocument, Platform},
    secret::Secret,
    transport::RegistryAnswer,
};
use crate::images::ImageReference;

/// The most redirects of one answer.
const REDIRECTS: usize = 5;

/// The most platforms that are read of one image.
const PLATFORMS_MAX: usize = 64;

/// The most layers of an image. Runtimes stop at 127.
const BLOBS_MAX: usize = 1000;

/// The length of a SHA-512 digest, the longest one.
const DIGEST_MAX: usize = "sha512:".len() + 128;

/// The lookup of one image. A token is valid for one repository.
pub(super) struct Session<'a> {
    access: &'a Access,
    base: String,
    authorization: Option<String>,
    /// True once credentials were sent.
    named: bool,
    reference: &'a ImageReference,
}

impl<'a> Session<'a> {
    /// A session for an image; `base` is the URL of its repository.
    pub(super) fn new(access: &'a Access, base: String, reference: &'a ImageReference) -> Self {
        Self {
            access,
            base,
            authorization: None,
            named: false,
            reference,
        }
    }

    /// Reads the image.
    pub(super) async fn image(&mut self) -> Result<Image, AskError> {
        let (tag, digest) = (self.reference.tag(), self.reference.digest());
        let version = digest.or(tag).unwrap_or("latest");
        let (body, document) = self
            .document(version, digest.is_some())
            .await?;
        let mut image = Image {
            digest: digest.map_or_else(|| manifest::sha256(&body), str::to_owned),
            platforms: Vec::new(),
            hollow: Vec::new(),
        };
        let Some(children) = document.manifests else {
            let mut only = platform_image(String::new(), document)?;
            only.platform = self
                .platform_of(only.blobs.last())
                .await?
                .name();
            image.platforms.push(only);
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
            match self.document(&digest, true).await {
                Ok((_, document)) => image
                    .platforms
                    .push(platform_image(platform, document)?),
                Err(AskError::Missing) => image.hollow.push(platform),
                Err(error) => return Err(error),
            }
        }
        Ok(image)
    }

    /// Reads the platform of an image without an index from its configuration.
    async fn platform_of(&mut self, config: Option<&Blob>) -> Result<Platform, AskError> {
        let Some(config) = config else {
            return Ok(Platform::default());
        };
        let url = format!("{}/blobs/{}", self.base, config.digest);
        let body = self.fetch(url, "*/*").await?.body;
        verify(&body, &config.digest)?;
        manifest::read(&body, "the image's configuration")
    }

    /// Reads the index or manifest of a tag or digest.
    async fn document(
        &mut self,
        version: &str,
        is_digest: bool,
    ) -> Result<(bytes::Bytes, ManifestDocument), AskError> {
        let url = format!("{}/manifests/{version}", self.base);
        let body = self.fetch(url, ACCEPTED).await?.body;
        if is_digest {
            verify(&body, version)?;
        }
        let document = manifest::read(&body, "a manifest")?;
        Ok((body, document))
    }

    /// Gets a URL of the registry, with a token if it requires one, and follows redirects.
    async fn fetch(&mut self, url: String, accept: &str) -> Result<RegistryAnswer, AskError> {
        let host = host_of(&url)?;
        let mut url = url;
        let mut asked_for_token = false;
        for _ in 0..=REDIRECTS {
            // Credentials are only sent to the registry, not to its blob storage.
            let at_home = host_of(&url)? == host;
            let authorization = self
                .authorization
                .as_deref()
                .filter(|_| at_home);
            let answer = self
                .access
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
            "the registry redirected too often".to_owned(),
        ))
    }

    /// Obtains the authorization that a challenge requires.
    async fn authorize(&mut self, answer: &RegistryAnswer) -> Result<(), AskError> {
        let headers = answer
            .headers
            .get_all(header::WWW_AUTHENTICATE)
            .into_iter()
            .filter_map(|value| value.to_str().ok());
        let challenge = Challenge::choose(headers).ok_or_else(|| self.denied())?;
        let secret = self
            .access
            .secrets
            .of(self.reference)
            .await?;
        self.named = secret.is_some();
        self.authorization = match (challenge, secret) {
            (Challenge::Basic, Some(Secret::Basic(encoded))) => Some(format!("Basic {encoded}")),
            (Challenge::Basic, _) => return Err(self.denied()),
            (Challenge::Bearer { realm, service }, secret) => {
                let token = self
                    .token(&realm, service.as_deref(), secret)
                    .await?;
                Some(format!("Bearer {token}"))
            }
        };
        Ok(())
    }

    /// Gets a token for the repository.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        secret: Option<Secret>,
    ) -> Result<String, AskError> {
        self.access.check_scheme(realm)?;
        let (transport, path) = (&self.access.transport, self.reference.path());
        let answer = match secret {
            Some(Secret::Identity(token)) => {
                let form = token_form(service, path, &token);
                transport.post(realm, form).await?
            }
            Some(Secret::Basic(encoded)) => {
                let (url, basic) = (token_url(realm, service, path), format!("Basic {encoded}"));
                transport
                    .get(&url, "application/json", Some(&basic))
                    .await?
            }
            None => {
                let url = token_url(realm, service, path);
                transport
                    .get(&url, "application/json", None)
                    .await?
            }
        };
        match answer.status {
            StatusCode::OK => {}
            // The answer to a refused identity token (RFC 6749, section 5.2).
            StatusCode::BAD_REQUEST if self.named => return Err(self.denied()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.denied()),
            status => {
                return Err(AskError::Answer(format!(
                    "the registry's token service answered with {status}"
                )));
            }
        }
        let token: Token = manifest::read(&answer.body, "a token")?;
        Ok(token
            .token
            .or(token.access_token)
            .unwrap_or_default())
    }

    fn denied(&self) -> AskError {
        AskError::Denied(
            if self.named {
                "the registry refuses these credentials"
            } else {
                "the registry requires credentials"
            }
            .to_owned(),
        )
    }

    fn redirected(&self, from: &str, answer: &RegistryAnswer) -> Result<String, AskError> {
        let strange = || AskError::Answer("the registry redirected to an invalid URL".to_owned());
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
        self.access.check_scheme(&url)?;
        Ok(url)
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// The image of one platform. The configuration is the last blob.
fn platform_image(platform: String, document: ManifestDocument) -> Result<PlatformImage, AskError> {
    let (Some(config), Some(layers)) = (document.config, document.layers) else {
        return Err(AskError::Answer(
            "the registry answered with a manifest that names no layers".to_owned(),
        ));
    };
    let mut blobs = layers;
    blobs.push(config);
    if blobs.len() > BLOBS_MAX
        || blobs
            .iter()
            .any(|blob| blob.digest.len() > DIGEST_MAX)
    {
        return Err(AskError::Answer(
            "the registry answered with a manifest of an impossible size".to_owned(),
        ));
    }
    Ok(PlatformImage { platform, blobs })
}

fn verify(body: &[u8], digest: &str) -> Result<(), AskError> {
    if manifest::matches(body, digest) {
        Ok(())
    } else {
        Err(AskError::Answer(
            "the registry's answer does not have the requested digest".to_owned(),
        ))
    }
}

fn host_of(url: &str) -> Result<String, AskError> {
    url.parse::<Uri>()
        .ok()
        .and_then(|uri| Some(uri.authority()?.to_string()))
        .ok_or_else(|| AskError::Answer("the registry has an invalid URL".to_owned()))
}
