use super::{AskError, secrets::Secrets, transport::Transport};

/// The way to registries, for all questions.
pub(super) struct Access {
    pub(super) transport: Transport,
    pub(super) secrets: Secrets,
    pub(super) plain_http: bool,
}

impl Access {
    /// Plain HTTP is for those who allowed it, whoever asks for it.
    pub(super) fn check_scheme(&self, url: &str) -> Result<(), AskError> {
        if url.starts_with("https://") || (self.plain_http && url.starts_with("http://")) {
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
