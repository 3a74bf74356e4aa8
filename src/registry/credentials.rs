use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use thiserror::Error;

/// Users and passwords for registries, from a Docker configuration: the file that `docker login`
/// writes, or what a pull secret holds under `.dockerconfigjson`.
#[derive(Clone, Default)]
pub struct Credentials(BTreeMap<String, String>);

/// Names the registries and nothing of what they are asked with.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set()
            .entries(self.0.keys())
            .finish()
    }
}

impl Credentials {
    /// Reads the entries `auths` of a Docker configuration.
    ///
    /// # Errors
    ///
    /// Text that is no Docker configuration, or one whose credentials are kept elsewhere.
    pub fn parse(text: &str) -> Result<Self, CredentialsError> {
        let config: Config = serde_json::from_str(text).map_err(|_| CredentialsError::Malformed)?;
        let helped = config.creds_store.is_some() || !config.cred_helpers.is_empty();
        let mut credentials = BTreeMap::new();
        for (registry, entry) in config.auths {
            let encoded = match entry {
                Entry {
                    auth: Some(auth), ..
                } if !auth.is_empty() => auth,
                Entry {
                    auth: _,
                    username: Some(user),
                    password: Some(password),
                } => STANDARD.encode(format!("{user}:{password}")),
                _ => continue,
            };
            credentials.insert(key(&registry), encoded);
        }
        if credentials.is_empty() && helped {
            return Err(CredentialsError::Helper);
        }
        Ok(Self(credentials))
    }

    /// What stands behind `Basic ` for a repository: that of the longest entry that covers it, as
    /// the kubelet has it.
    pub(super) fn find(&self, host: &str, path: &str) -> Option<&str> {
        let repository = format!("{}/{path}", key(host));
        let covers = |entry: &str| {
            repository
                .strip_prefix(entry)
                .is_some_and(|rest| rest.starts_with('/') || rest.is_empty())
        };
        self.0
            .iter()
            .filter(|(entry, _)| covers(entry))
            .max_by_key(|(entry, _)| entry.len())
            .map(|(_, encoded)| encoded.as_str())
    }
}

/// Why a Docker configuration gives no credentials. The values are never part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// Another program keeps them.
    #[error(
        "keeps its credentials in a helper, which is not asked (hint: give a file with `auths`, such as the one \
         of a pull secret)"
    )]
    Helper,
    /// Something else.
    #[error("is no Docker configuration (hint: it is JSON with an object `auths`)")]
    Malformed,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// Entries are written with and without a scheme and the API's version, and Docker Hub has names
/// of its own.
fn key(registry: &str) -> String {
    let name = registry
        .trim_start_matches("https://")
        .trim_start_matches("http://")
        .trim_end_matches('/');
    let name = ["/v1", "/v2"]
        .iter()
        .find_map(|version| name.strip_suffix(version))
        .unwrap_or(name);
    match name {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_entry_that_covers_a_repository_counts() {
        let credentials = Credentials::parse(
            r#"{"auths": {
                "https://index.docker.io/v1/": {"auth": "aHVi"},
                "registry.example.com": {"auth": "YWxs"},
                "registry.example.com/team": {"username": "a", "password": "b"},
                "empty.example.com": {}
            }, "credsStore": "desktop"}"#,
        )
        .unwrap();
        assert_eq!(credentials.find("docker.io", "library/nginx"), Some("aHVi"));
        assert_eq!(
            credentials.find("registry.example.com", "app"),
            Some("YWxs")
        );
        assert_eq!(
            credentials.find("registry.example.com", "team/app"),
            Some("YTpi")
        );
        assert_eq!(
            credentials.find("registry.example.com", "teams/app"),
            Some("YWxs")
        );
        assert_eq!(
            credentials.find("registry.example.com.evil.org", "app"),
            None
        );
        assert_eq!(credentials.find("registry.example.com:5000", "app"), None);
        assert_eq!(credentials.find("empty.example.com", "app"), None);
        assert!(!format!("{credentials:?}").contains("YTpi"));
    }

    #[test]
    fn a_configuration_without_credentials_says_why() {
        let parse = |text| Credentials::parse(text).map(|_| ());
        assert_eq!(parse("{}"), Ok(()));
        assert_eq!(
            parse(r#"{"credsStore": "desktop"}"#),
            Err(CredentialsError::Helper)
        );
        assert_eq!(parse("secret"), Err(CredentialsError::Malformed));
    }
}
