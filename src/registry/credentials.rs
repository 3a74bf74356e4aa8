use std::{collections::BTreeMap, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use thiserror::Error;

use super::{helper::Helper, secret::Secret};
use crate::images::DEFAULT_REGISTRY;

/// The name of Docker Hub for credential helpers.
const HUB_SERVER: &str = "https://index.docker.io/v1/";

/// Credentials of a Docker configuration: the file that `docker login` writes, or the
/// `.dockerconfigjson` of a pull secret.
#[derive(Clone, Default)]
pub struct Credentials {
    entries: BTreeMap<String, Secret>,
    /// Helpers by host.
    helpers: BTreeMap<String, Helper>,
    store: Option<Helper>,
}

/// Shows the registries, but no credentials.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            entries,
            helpers,
            store,
        } = self;
        f.debug_struct("Credentials")
            .field("entries", &entries.keys())
            .field("helpers", helpers)
            .field("store", store)
            .finish()
    }
}

impl Credentials {
    /// Reads `auths`, `credHelpers` and `credsStore` of a Docker configuration. A helper runs when a
    /// registry requires credentials, once per registry.
    ///
    /// # Errors
    ///
    /// The text is not a Docker configuration, or a helper's name is invalid.
    pub fn parse(text: &str) -> Result<Self, CredentialsError> {
        let Config {
            auths,
            creds_store,
            cred_helpers,
        } = serde_json::from_str(text).map_err(|_| CredentialsError::Malformed)?;
        let helper = |name: &str| Helper::parse(name).ok_or(CredentialsError::HelperName);
        let helpers = cred_helpers
            .iter()
            .filter(|(_, name)| !name.is_empty())
            .map(|(registry, name)| Ok((key(registry), helper(name)?)));
        Ok(Self {
            entries: auths
                .into_iter()
                .filter_map(|(registry, entry)| Some((key(&registry), entry.secret()?)))
                .collect(),
            helpers: helpers.collect::<Result<_, _>>()?,
            store: creds_store
                .filter(|name| !name.is_empty())
                .map(|name| helper(&name))
                .transpose()?,
        })
    }

    /// Locates the secret for a repository: the helper of its host, else the longest entry that covers
    /// it, as the kubelet does, else the default helper.
    pub(super) fn find(&self, host: &str, path: &str) -> CredentialPlace<'_> {
        let host = key(host);
        let server = || match host.as_str() {
            DEFAULT_REGISTRY => HUB_SERVER.to_owned(),
            host => host.to_owned(),
        };
        if let Some(helper) = self.helpers.get(&host) {
            return CredentialPlace::Helper(helper, server());
        }
        let repository = format!("{host}/{path}");
        let covers = |entry: &str| {
            repository
                .strip_prefix(entry)
                .is_some_and(|rest| rest.starts_with('/') || rest.is_empty())
        };
        let entry = self
            .entries
            .iter()
            .filter(|(entry, _)| covers(entry))
            .max_by_key(|(entry, _)| entry.len());
        match (entry, &self.store) {
            (Some((_, secret)), _) => CredentialPlace::Here(secret),
            (None, Some(store)) => CredentialPlace::Helper(store, server()),
            (None, None) => CredentialPlace::Nowhere,
        }
    }
}

/// The location of a secret.
pub(super) enum CredentialPlace<'a> {
    Here(&'a Secret),
    /// In a helper, under this name of the registry.
    Helper(&'a Helper, String),
    Nowhere,
}

/// The reason why a Docker configuration cannot be used. It never contains credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A helper whose name is not that of a program.
    #[error(
        "names an invalid credential helper (hint: `NAME` in `credsStore` or `credHelpers` stands for the \
         program `docker-credential-NAME`)"
    )]
    HelperName,
    /// Any other text.
    #[error(
        "is not a Docker configuration (hint: it is JSON with an object `auths` or `credHelpers`, or a string `credsStore`)"
    )]
    Malformed,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, StoredCredential>,
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct StoredCredential {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    #[serde(rename = "identitytoken")]
    identity_token: Option<String>,
}

impl StoredCredential {
    /// The secret of an entry. Docker writes an empty entry for each registry whose secret a helper
    /// keeps.
    fn secret(self) -> Option<Secret> {
        let Self {
            auth,
            username,
            password,
            identity_token,
        } = self;
        let given = |text: &String| !text.is_empty();
        identity_token
            .filter(given)
            .map(Secret::Identity)
            .or_else(|| auth.filter(given).map(Secret::Basic))
            .or_else(|| {
                let pair = format!("{}:{}", username?, password?);
                Some(Secret::Basic(STANDARD.encode(pair)))
            })
    }
}

/// Normalizes the name of a registry: entries may have a scheme and an API version, and Docker Hub has
/// several names.
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
        "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY.to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The location of the secret for a repository, as text.
    fn place(credentials: &Credentials, host: &str, path: &str) -> String {
        match credentials.find(host, path) {
            CredentialPlace::Here(Secret::Basic(encoded)) => encoded.clone(),
            CredentialPlace::Here(Secret::Identity(token)) => format!("token {token}"),
            CredentialPlace::Helper(helper, server) => format!("{helper:?} for {server}"),
            CredentialPlace::Nowhere => "nowhere".to_owned(),
        }
    }

    #[test]
    fn the_longest_entry_that_covers_a_repository_counts() {
        let credentials = Credentials::parse(
            r#"{"auths": {
                "https://index.docker.io/v1/": {"auth": "aHVi"},
                "registry.example.com": {"auth": "YWxs"},
                "registry.example.com/team": {"username": "a", "password": "b"},
                "token.example.com": {"auth": "YWxs", "identitytoken": "t"},
                "empty.example.com": {}
            }}"#,
        )
        .unwrap();
        for (host, path, expected) in [
            ("docker.io", "library/nginx", "aHVi"),
            ("registry.example.com", "app", "YWxs"),
            ("registry.example.com", "team/app", "YTpi"),
            ("registry.example.com", "teams/app", "YWxs"),
            ("registry.example.com.evil.org", "app", "nowhere"),
            ("registry.example.com:5000", "app", "nowhere"),
            ("token.example.com", "app", "token t"),
            ("empty.example.com", "app", "nowhere"),
        ] {
            assert_eq!(place(&credentials, host, path), expected, "{host}/{path}");
        }
        assert!(!format!("{credentials:?}").contains("YTpi"));
    }

    #[test]
    fn a_hosts_own_helper_comes_first_and_the_one_for_all_last() {
        let credentials = Credentials::parse(
            r#"{
                "auths": {"registry.example.com": {"auth": "YWxs"}, "ecr.example.com": {"auth": "YWxs"}},
                "credHelpers": {"ecr.example.com": "ecr-login", "none.example.com": ""},
                "credsStore": "desktop"
            }"#,
        )
        .unwrap();
        for (host, expected) in [
            (
                "ecr.example.com",
                r#"Helper("docker-credential-ecr-login") for ecr.example.com"#,
            ),
            ("registry.example.com", "YWxs"),
            (
                "docker.io",
                r#"Helper("docker-credential-desktop") for https://index.docker.io/v1/"#,
            ),
            (
                "none.example.com",
                r#"Helper("docker-credential-desktop") for none.example.com"#,
            ),
        ] {
            assert_eq!(place(&credentials, host, "app"), expected, "{host}");
        }
    }

    #[test]
    fn a_configuration_without_credentials_says_why() {
        let parse = |text| Credentials::parse(text).map(|_| ());
        assert_eq!(parse("{}"), Ok(()));
        assert_eq!(parse(r#"{"credsStore": ""}"#), Ok(()));
        assert_eq!(
            parse(r#"{"credsStore": "../desktop"}"#),
            Err(CredentialsError::HelperName)
        );
        assert_eq!(
            parse(r#"{"credHelpers": {"a.example.com": "a b"}}"#),
            Err(CredentialsError::HelperName)
        );
        assert_eq!(parse("secret"), Err(CredentialsError::Malformed));
    }
}
