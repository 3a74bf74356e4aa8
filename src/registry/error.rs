use thiserror::Error;

/// Why a registry did not tell of an image.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AskError {
    /// The answer is none that a registry gives. The fault is the registry's, or that of something
    /// in front of it.
    #[error("{0}")]
    Answer(String),
    /// The registry wants to know who asks, or refuses those who do.
    #[error("{0}")]
    Denied(String),
    /// The program that keeps the credentials did not give them.
    #[error("{0}")]
    Helper(String),
    /// The registry has no such image.
    #[error("there is no such image")]
    Missing,
    /// The registry's certificate is not to be trusted, or it does not speak TLS.
    #[error("{0}")]
    Tls(String),
    /// No connection, or none in time.
    #[error("{0}")]
    Unreachable(String),
}

impl AskError {
    /// What to do about it, where the message does not already say so.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Denied(_) => Some(
                "give credentials with `--docker-config`; some registries answer so where an image does not exist",
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

    /// The kind of the failure in one word, for programs.
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
