use super::{AskError, secrets::Secrets, transport::Transport};

/// The access to registries that all lookups share.
pub(super) struct Access {
    pub(super) transport: Transport,
    pub(super) secrets: Secrets,
    pub(super) plain_http: bool,
}

impl Access {
    /// Rejects plain HTTP unless it was allowed, also in redirects and challenges.
    pub(super) fn check_scheme(&self, url: &str) -> Result<(), AskError> {
        if url.starts_with("https://") || (self.plain_http && url.starts_with("http://")) {
            Ok(())
        } else if url.starts_with("http://") {
            Err(AskError::Tls(
                "the registry pointed to a URL without TLS".to_owned(),
            ))
        } else {
            Err(AskError::Answer(
                "the registry pointed to an invalid URL".to_owned(),
            ))
        }
    }
}
