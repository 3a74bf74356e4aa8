//! The names that Kubernetes accepts (`k8s.io/apimachinery/pkg/util/validation`).

/// True if `name` is a DNS-1123 subdomain, as names of Secrets, Agents and Tools are.
pub(crate) fn is_subdomain(name: &str) -> bool {
    let is_edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= 253
        && name.split('.').all(|label| {
            let bytes = label.as_bytes();
            bytes
                .first()
                .is_some_and(|&byte| is_edge(byte))
                && bytes
                    .last()
                    .is_some_and(|&byte| is_edge(byte))
                && bytes
                    .iter()
                    .all(|&byte| is_edge(byte) || byte == b'-')
        })
}

/// [`is_subdomain`] in CEL.
pub(super) fn is_subdomain_in_cel(name: &str) -> String {
    format!("{name}.size() <= 253 && {name}.matches('{SUBDOMAIN}')")
}

/// The pattern in RE2 syntax, without a quote or an escape.
const SUBDOMAIN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// True if `key` may be a key of a Secret or ConfigMap.
pub(crate) fn is_data_key(key: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !key.is_empty()
        && key.len() <= 253
        && key.bytes().all(is_legal)
        && key != "."
        && !key.starts_with("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subdomains_are_told_from_other_words() {
        let pattern = regex::Regex::new(SUBDOMAIN).unwrap();
        for name in ["a", "claude-code-token", "a.b-c.d", "0"] {
            assert!(is_subdomain(name) && pattern.is_match(name), "{name}");
        }
        for name in [
            "",
            "A",
            "a_b",
            "-a",
            "a-",
            "a..b",
            ".a",
            "a/b",
            "../a",
            "a b",
            "a\n",
            &"a".repeat(254),
        ] {
            assert!(!is_subdomain(name), "{name}");
            assert!(name.len() > 253 || !pattern.is_match(name), "{name}");
        }
    }

    #[test]
    fn data_keys_are_told_from_other_words() {
        for key in ["token", "API_KEY", "a.b", "..."] {
            assert_eq!(is_data_key(key), key != "...", "{key}");
        }
        for key in ["", ".", "..", "..a", "a/b", "a b"] {
            assert!(!is_data_key(key), "{key}");
        }
    }
}
