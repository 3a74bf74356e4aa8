use std::fmt::Write as _;

/// The authentication that a registry requires, from a `WWW-Authenticate` header (RFC 9110, section
/// 11.6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password in each request.
    Basic,
    /// A token issued by the realm.
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

impl Challenge {
    /// The first challenge that is supported; tokens are preferred.
    pub(super) fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut basic = None;
        for header in headers {
            let (scheme, parameters) = header
                .trim()
                .split_once(' ')
                .unwrap_or((header.trim(), ""));
            if scheme.eq_ignore_ascii_case("bearer") {
                if let Some(realm) = parameter(parameters, "realm") {
                    let service = parameter(parameters, "service");
                    return Some(Self::Bearer { realm, service });
                }
            } else if scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Self::Basic);
            }
        }
        basic
    }
}

/// The URL that issues a token to pull from a repository.
pub(super) fn token_url(realm: &str, service: Option<&str>, path: &str) -> String {
    let separator = if realm.contains('?') { '&' } else { '?' };
    format!("{realm}{separator}{}", wish(service, path))
}

/// The form with which the bearer of an identity token requests the same (RFC 6749, and distribution's
/// `docs/content/spec/auth/oauth.md`).
pub(super) fn token_form(service: Option<&str>, path: &str, identity: &str) -> String {
    format!(
        "grant_type=refresh_token&client_id=agentkube&{}&refresh_token={}",
        wish(service, path),
        encode(identity)
    )
}

fn wish(service: Option<&str>, path: &str) -> String {
    let mut query = format!("scope={}", encode(&format!("repository:{path}:pull")));
    if let Some(service) = service {
        query.push_str("&service=");
        query.push_str(&encode(service));
    }
    query
}

/// The value of a parameter, without quotes.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_matches([' ', ',', '\t']);
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after
                .split_once(',')
                .unwrap_or((after, "")),
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value.trim().to_owned());
        }
        rest = after;
    }
}

/// Percent-encodes a value for a query (RFC 3986, section 2.3).
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_preferred_to_a_password() {
        let headers = [
            "Basic realm=\"x\"",
            "bearer realm=\"https://auth.example.com/token\", service=registry.example.com,scope=\"a,b\"",
        ];
        assert_eq!(
            Challenge::choose(headers.into_iter()),
            Some(Challenge::Bearer {
                realm: "https://auth.example.com/token".to_owned(),
                service: Some("registry.example.com".to_owned()),
            })
        );
        assert_eq!(
            Challenge::choose(["Basic"].into_iter()),
            Some(Challenge::Basic)
        );
        for strange in [
            "",
            "Bearer",
            "Bearer realm",
            "Bearer realm=\"x",
            "Negotiate",
        ] {
            assert_eq!(Challenge::choose([strange].into_iter()), None, "{strange}");
        }
    }

    #[test]
    fn an_identity_token_goes_into_a_form() {
        let form = token_form(Some("re gistry"), "org/app", "a+b/c==");
        assert_eq!(
            form,
            "grant_type=refresh_token&client_id=agentkube&scope=repository:org/app:pull\
             &service=re%20gistry&refresh_token=a%2Bb/c%3D%3D"
        );
    }

    #[test]
    fn the_token_is_for_one_repository() {
        let url = token_url("https://a.example/t?x=1", Some("re gistry&y=2"), "org/app");
        assert_eq!(
            url,
            "https://a.example/t?x=1&scope=repository:org/app:pull&service=re%20gistry%26y%3D2"
        );
    }
}
