use thiserror::Error;

/// The reason why an image could not be looked up.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AskError {
    /// The answer is invalid. The registry is at fault, or something in front of it.
    #[error("{0}")]
    Answer(String),
    /// The registry requires credentials, or refuses those given.
    #[error("{0}")]
    Denied(String),
    /// The credential helper failed.
    #[error("{0}")]
    Helper(String),
    /// The registry has no such image.
    #[error("there is no such image")]
    Missing,
    /// The registry's certificate is not trusted, or the registry does not speak TLS.
    #[error("{0}")]
    Tls(String),
    /// The registry could not be reached in time.
    #[error("{0}")]
    Unreachable(String),
}

impl AskError {
    /// A hint on what to do, unless the message already has one.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Denied(_) => Some(
                "give credentials with `--docker-config`; some registries also answer like this if an image does not exist",
            ),
            Self::Helper(_) => Some(
                "it is named by `credsStore` or `credHelpers` in the file of `--docker-config`; a file with `auths` needs none",
            ),
            Self::Tls(_) => Some(
                "`--ca-file` adds a certificate authority, `--insecure-registry` allows plain HTTP",
            ),
            Self::Answer(_) | Self::Missing | Self::Unreachable(_) => None,
        }
    }

    /// The kind of error as one word, for programs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Answer(_) => "invalid",
            Self::Denied(_) => "denied",
            Self::Helper(_) => "helper",
            Self::Missing => "missing",
            Self::Tls(_) => "tls",
            Self::Unreachable(_) => "unreachable",
        }
    }
}
